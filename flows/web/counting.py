"""What the web server counts of itself: requests by route and status, open streams, downloads and queries.

Routes are those that the server has, statuses those of HTTP: there are not more, however strangers spell requests.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.web.answers import Handler
from flows.web.base import CONTEXT, Context


@web.middleware
async def count_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request by its route once it is answered; outermost, so that what the door refuses is counted too."""
    requests = request.app[CONTEXT].requests
    try:
        response = await handler(request)
    except web.HTTPException as error:
        requests[_route(request), error.status] += 1
        raise
    requests[_route(request), response.status] += 1
    return response


class WebCollector(Collector):
    """Reads the web server's counters when it is asked."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterable[Metric]:
        """Yield all of them; docs/metrics.md lists them."""
        requests = CounterMetricFamily("flows_web_requests", "Requests to page and API", labels=["route", "status"])
        for (route, status), count in sorted(self._context.requests.items()):
            requests.add_metric([route, str(status)], count)
        yield requests
        open_ = GaugeMetricFamily("flows_web_open", "Open streams, downloads and queries", labels=["kind"])
        for kind, count in sorted(self._context.streams.items()):
            open_.add_metric([kind], count)
        yield open_


def _route(request: web.Request) -> str:
    """Return the pattern of the route that matched, "" where none did."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical
