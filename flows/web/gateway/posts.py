"""`POST /topics/NAME`: one event, an array or lines; the answer comes when the broker has them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

from aiohttp import web

from flows.brokers.base import Headers
from flows.clock import moment
from flows.decode.base import nests_deeper
from flows.errors import BrokerUnavailable, FlowsError, OutcomeUnknown, RecordTooLarge
from flows.tracing import TRACEPARENT, Span
from flows.web.answers import answer
from flows.web.gateway.base import Events, IngestTopic, Refused
from flows.web.gateway.body import Body, Text, kind_of, texts_of
from flows.web.gateway.book import Once, digest
from flows.web.gateway.gateway import GATEWAY, Gateway

log = logging.getLogger("flows.gateway")

_MOST_ERRORS = 100
_LONGEST_KEY = 255
_OPTIONS = frozenset({"key", "key_field", "timestamp", "timestamp_field", "on_error"})


class Told(NamedTuple):
    """What a request says of all its events, by header or query; a `timestamp` is in milliseconds."""

    key: bytes | None = None
    key_field: str | None = None
    timestamp: int | None = None
    timestamp_field: str | None = None
    skip: bool = False


async def post(request: web.Request) -> web.Response:
    """Write the events of a request: all or none, unless `?on_error=skip`.

    It answers once the broker has them; 422 with `errors`, by line, where some do not fit. See docs/gateway.md for the
    other answers.
    """
    gateway = request.app[GATEWAY]
    began, name = gateway.clock.now(), request.match_info["name"]
    known = name if name in gateway.topics else ""
    span = _span(request, gateway, known)
    try:
        response = await _post(request, gateway, name, () if span is None else ((TRACEPARENT, span.header),))
        if span is not None:
            span.end()
    except Refused as refused:
        if span is not None:
            span.end(f"{refused.status}")
        response = refused.response()
        if not request.content.at_eof():
            response.force_close()  # the rest of its body is not waited for
    else:
        gateway.metrics.answered(began, gateway.clock.now())
    gateway.metrics.requests[known, response.status] += 1
    return response


def _span(request: web.Request, gateway: Gateway, topic: str) -> Span | None:
    """Begin the span of a request, where spans are made; its parent is the sender's, where it tells one."""
    if gateway.tracer is None or not topic:
        return None
    parent = request.headers.get(TRACEPARENT)
    about: dict[str, str | int] = {
        "messaging.system": "flows",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
    }
    given = None if parent is None else parent.encode(errors="replace")
    return gateway.tracer.begin(f"send {topic}", "producer", given, about)


async def _post(request: web.Request, gateway: Gateway, name: str, headers: Headers) -> web.Response:
    topic = topic_of(gateway, name)
    kind, told, key = kind_of(request.content_type), told_of(request), _idempotency_key(request)
    body = Body(gateway.budget, gateway.limits)
    try:
        content = await body.read(request)
        await _ready(topic)
        texts = texts_of(content, kind, topic.raw, gateway.limits)
        events, errors = made(gateway, topic, texts, told, headers)
        if errors and not (told.skip and len(errors) < len(texts)):
            gateway.metrics.refused[name] += len(errors)
            words = f"{len(errors)} of {len(texts)} events do not fit; nothing was written"
            raise Refused(422, words, errors=errors[:_MOST_ERRORS])
        claim = None
        if key is not None:
            said = repr((kind, *told)).encode()
            claim = Once(digest(b"key", name.encode(), key), digest(said, content))
        duplicate = bool(events.count) and await written(gateway, gateway.submit(events, claim), claim is not None)
    finally:
        body.close()
    count(gateway, name, events.count, duplicate, len(errors))
    found: dict[str, Any] = {"topic": name, "records": events.count, "duplicate": duplicate}
    if told.skip:
        found.update(refused=len(errors), errors=errors[:_MOST_ERRORS])
    return answer(found)


def topic_of(gateway: Gateway, name: str) -> IngestTopic:
    """Return a topic that may be written to; raises `Refused`."""
    topic = gateway.topics.get(name)
    if topic is None:
        listed = ", ".join(sorted(gateway.topics)) or "none"
        raise Refused(404, f"no topic {name[:100]!r} takes events from outside; those that do: {listed}")
    return topic


def made(
    gateway: Gateway, topic: IngestTopic, texts: list[tuple[int, Text]], told: Told, headers: Headers = ()
) -> tuple[Events, list[dict[str, Any]]]:
    """Make records of texts; return them and, by line, what does not fit."""
    events = Events()
    errors: list[dict[str, Any]] = []
    now = round(gateway.clock.now() * 1000) if told.timestamp is None else told.timestamp
    depth = gateway.limits.depth
    for line, text in texts:
        try:
            if not topic.raw and nests_deeper(bytes(text), depth):
                raise FlowsError(f"the JSON nests deeper than {depth}")
            record = topic.make(text, key=told.key, key_field=told.key_field, timestamp_field=told.timestamp_field)
        except BrokerUnavailable:
            raise
        except FlowsError as error:
            errors.append({"line": line, "error": str(error)})
        else:
            events.add(topic.name, record, now, headers)
    return events, errors


async def written(gateway: Gateway, done: asyncio.Future[bool], keyed: bool) -> bool:
    """Wait until the broker has it; return whether it had it before. Raises `Refused`."""
    try:
        async with asyncio.timeout(gateway.limits.answer_seconds):
            return await done
    except TimeoutError:
        words = f"the broker did not answer within {gateway.limits.answer_seconds:g} s; {_perhaps(keyed)}"
        raise Refused(503, words, retry_after=1) from None
    except Refused:
        raise
    except FlowsError as error:
        raise refusal_of(error, keyed) from error


def refusal_of(error: FlowsError, keyed: bool) -> Refused:
    """Return the answer to what went wrong at the broker."""
    if isinstance(error, BrokerUnavailable):
        return Refused(503, f"nothing was written: {error}", retry_after=1)
    if isinstance(error, OutcomeUnknown):
        return Refused(503, f"{error}; {_perhaps(keyed)}", retry_after=1)
    if isinstance(error, RecordTooLarge):
        return Refused(413, str(error))
    log.error("the gateway cannot write: %s", error)
    return Refused(500, "the gateway could not write; its log says why")


def count(gateway: Gateway, topic: str, records: int, duplicate: bool, refused: int) -> None:
    """Count what was done with a request or message."""
    metrics = gateway.metrics
    metrics.refused[topic] += refused
    if duplicate:
        metrics.duplicates[topic] += 1
    else:
        metrics.events[topic] += records


def told_of(request: web.Request) -> Told:
    """Read the query and the headers `Flows-Key` and `Flows-Timestamp`. Raises `Refused`."""
    query, headers = request.query, request.headers
    for name in query:
        if name not in _OPTIONS or len(query.getall(name)) > 1:
            raise Refused(400, f"?{name[:40]}= is not known, or there twice; known: {', '.join(sorted(_OPTIONS))}")
    key = _one("key", headers.get("Flows-Key"), query.get("key"), query.get("key_field"))
    when = _one("timestamp", headers.get("Flows-Timestamp"), query.get("timestamp"), query.get("timestamp_field"))
    on_error = query.get("on_error", "reject")
    if on_error not in ("reject", "skip"):
        raise Refused(400, f"on_error is {on_error[:40]!r}; expected reject or skip")
    return Told(
        None if key is None else key.encode(errors="surrogateescape"),
        query.get("key_field"),
        None if when is None else milliseconds_of(when),
        query.get("timestamp_field"),
        on_error == "skip",
    )


def milliseconds_of(when: str | float) -> int:
    """Read a time, in seconds since the epoch or ISO 8601; raises `Refused`."""
    try:
        return round(moment(when) * 1000)
    except ValueError:
        raise Refused(
            400, f"timestamp {str(when)[:40]!r} is no time; write seconds since the epoch, or ISO 8601"
        ) from None


async def _ready(topic: IngestTopic) -> None:
    try:
        await topic.ready()
    except FlowsError as error:
        raise refusal_of(error, True) from error


def _one(what: str, header: str | None, query: str | None, field: str | None) -> str | None:
    if sum(each is not None for each in (header, query, field)) > 1:
        raise Refused(400, f"the {what} is told twice: by header, by ?{what}= or by ?{what}_field=, choose one")
    return query if header is None else header


def _idempotency_key(request: web.Request) -> bytes | None:
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    key = keys[0].strip()
    if len(keys) > 1 or not key or len(key) > _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Refused(400, f"Idempotency-Key must be one text of 1 to {_LONGEST_KEY} printable ASCII characters")
    return key.encode()


def _perhaps(keyed: bool) -> str:
    if keyed:
        return "send it again under the same key: it will be there once"
    return "the events may be there or not: send them with an Idempotency-Key to be safe"
