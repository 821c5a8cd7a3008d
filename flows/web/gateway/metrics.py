"""What the gateway counts, and how `/metrics` tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.latency import Durations, Latencies

if TYPE_CHECKING:
    from flows.web.gateway.gateway import Gateway

ANSWER_BOUNDS = tuple(step * 10.0**e for e in range(-3, 2) for step in (1.0, 2.0, 5.0))
"""Seconds, from 1 ms to 50 s."""


class GatewayMetrics:
    """Counters since the start. Labels are names of topics that may be written to, and statuses: bounded both."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.events: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._answers = Durations()
        self.writes = 0
        self.take_overs = 0

    def answered(self, began: float, now: float) -> None:
        """Count an acknowledgement; both times in seconds."""
        self._answers.add(now - began)

    @property
    def answers(self) -> Latencies:
        """How long acknowledgements took."""
        return self._answers.all()


class GatewayCollector(Collector):
    """Reads the gateway's counters when it is asked."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterable[Metric]:
        """Yield all of the gateway's metrics; docs/metrics.md lists them."""
        yield from self._counters()
        yield from self._gauges()
        answers = self._gateway.metrics.answers
        found = HistogramMetricFamily(
            "flows_gateway_answer_seconds", "Seconds from a request's head, or a message, to its acknowledgement"
        )
        counts = zip(map(str, ANSWER_BOUNDS), answers.up_to(ANSWER_BOUNDS), strict=True)
        found.add_metric([], [*counts, ("+Inf", answers.count)], answers.total)
        yield found

    def _counters(self) -> Iterator[Metric]:
        metrics = self._gateway.metrics
        requests = CounterMetricFamily(
            "flows_gateway_requests", "Requests and messages of WebSockets, by their answer", labels=["topic", "status"]
        )
        # What has not happened yet is told as 0: a rate needs a point to start from.
        told = Counter({(topic, 200): 0 for topic in self._gateway.topics})
        told.update(metrics.requests)
        for (topic, status), count in sorted(told.items()):
            requests.add_metric([topic, str(status)], count)
        yield requests
        for name, meaning, by_topic in (
            ("events", "Events that the broker has", metrics.events),
            ("duplicate_requests", "Requests and messages that had been written before", metrics.duplicates),
            ("refused_events", "Events that did not fit their topic", metrics.refused),
        ):
            found = CounterMetricFamily(f"flows_gateway_{name}", meaning, labels=["topic"])
            for topic in sorted(self._gateway.topics):
                found.add_metric([topic], by_topic[topic])
            yield found
        yield CounterMetricFamily("flows_gateway_writes", "Writes to the broker", metrics.writes)
        yield CounterMetricFamily("flows_gateway_take_overs", "Lanes of keys taken over", metrics.take_overs)

    def _gauges(self) -> Iterator[Metric]:
        gateway = self._gateway
        for name, told, value in (
            ("buffer_bytes", "Bytes on the way, read but not yet answered", gateway.budget.used),
            ("sockets", "Open WebSockets", len(gateway.sockets)),
            ("keys", "Keys and clients that are remembered", gateway.known_keys),
        ):
            yield GaugeMetricFamily(f"flows_gateway_{name}", told, value)
