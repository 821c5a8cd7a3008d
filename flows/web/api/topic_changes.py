"""`/api/topics/NAME/changes`: a topic's records as they come, as server-sent events or by a WebSocket.

1. `ready` once records are being received.
2. `records` with a list of them, of the partitions' next ones, in order of time.
3. `skipped` where retention dropped records before they were read: `{"offsets": how many so far}`.
4. A comment, or a ping, as heartbeat; and `passed` where records were looked at of which none is wanted.

Each has the positions behind it as its id. Who comes again with the last one, to whichever worker, goes on there:
nothing is missed and nothing comes twice.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from flows.web.answers import bad_request, logger
from flows.web.api.topics import (
    FILTERS,
    PARTITION,
    PLACE,
    POSITIONS,
    TOPIC,
    filter_of,
    positions_of,
    start_of,
    topic_name,
    topics_of,
)
from flows.web.base import CONTEXT, Limits
from flows.web.channel import RESUME, SOCKET, Channel, channel_of, counted, events, last_id
from flows.web.endpoint import Endpoint
from flows.web.topics import From, TopicFeed, TopicRecord

_MESSAGE = 200


def endpoints() -> list[Endpoint]:
    """Return `GET /api/topics/NAME/changes`."""
    return [
        Endpoint(
            method="GET",
            path="/api/topics/{name}/changes",
            handler=topic_changes,
            parameters=(TOPIC, PLACE, PARTITION, POSITIONS, *FILTERS, *RESUME),
            answer=events("ready, records, passed, skipped"),
            others=SOCKET,
            streams=True,
        )
    ]


async def topic_changes(request: web.Request) -> web.StreamResponse:
    """Stream a topic's records until the visitor leaves or the server stops; by default those from now on.

    `records` has a list of them. The id of an event is the positions behind it: with the last one any worker goes on
    there, and nothing is missed. `passed` tells that records were looked at of which none is wanted, `skipped` how many
    retention dropped before they were read.
    """
    context, topics, name = request.app[CONTEXT], topics_of(request), await topic_name(request)
    last = last_id(request)
    start = start_of(request) if last is None else From(positions=_resumed(last))
    channel = channel_of(request, context.limits)
    with counted(context, "cluster"):
        feed = await topics.follow(name, start, filter_of(request))
        try:
            await _pump(channel, feed, context.limits, context.closing)
        except Exception:
            if not channel.response.prepared:
                raise
            logger.exception("the records of topic %r ended", name)
        finally:
            await feed.close()
            await channel.close()
    return channel.response


async def _pump(channel: Channel, feed: TopicFeed, limits: Limits, closing: asyncio.Event) -> None:
    ending = asyncio.ensure_future(closing.wait())
    told = feed.skipped
    open_ = await channel.start() and await channel.send("ready", {}, feed.positions)
    try:
        while open_:
            before = feed.positions
            taking = asyncio.ensure_future(feed.take(limits.heartbeat))
            try:
                await asyncio.wait({taking, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:  # the visitor may have left
                if not taking.done():
                    taking.cancel()
                    await asyncio.gather(taking, return_exceptions=True)
            if ending.done():
                return
            records = taking.result()
            if feed.skipped != told:
                told = feed.skipped
                open_ = await channel.send("skipped", {"offsets": told}, before)
            open_ = open_ and await _deliver(channel, records, feed.positions, before)
            if records:
                await asyncio.wait({ending}, timeout=limits.pace)
    finally:
        ending.cancel()


async def _deliver(channel: Channel, records: list[TopicRecord], behind: str, before: str) -> bool:
    for start in range(0, len(records), _MESSAGE):
        last = start + _MESSAGE >= len(records)
        if not await channel.send("records", records[start : start + _MESSAGE], behind if last else None):
            return False
    if not records and behind != before:
        return await channel.send("passed", {}, behind)
    return await channel.beat()


def _resumed(last: str) -> dict[int, int]:
    try:
        return positions_of(last)
    except web.HTTPBadRequest:
        raise bad_request("Last-Event-ID is none that was sent from here") from None
