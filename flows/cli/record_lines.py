"""Records on standard output: lines for people, one JSON object a line for machines."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec

from flows.brokers.base import Headers, Records
from flows.run.showing import text_of, value_of

_encode = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode


def json_lines(records: Records) -> Iterator[str]:
    """Yield an object a record: topic, partition, offset, timestamp (milliseconds), key, headers and value."""
    for offset, time, key, value, headers in _rows(records):
        place = {"topic": records.tp.topic, "partition": records.tp.partition, "offset": offset, "timestamp": time}
        content = {"key": text_of(key), "headers": _named(headers), "value": value_of(text_of(value))}
        yield _encode({**place, **content}).decode()


def text_lines(records: Records) -> Iterator[str]:
    """Yield a line a record: place, time, key, value; `-` is null. Headers follow, each in an indented line."""
    for offset, time, key, value, headers in _rows(records):
        yield f"{records.tp}@{offset}  {_clock(time)}  {_or_dash(key)}  {_or_dash(value)}"
        for name, content in headers:
            yield f"    {name}: {_or_dash(content)}".replace("\n", "\\n")


def _rows(records: Records) -> Iterator[tuple[int, int, bytes | None, bytes | None, Headers]]:
    headers = records.headers or [()] * len(records)
    return zip(records.offsets, records.timestamps, records.keys, records.values, headers, strict=True)


def _clock(milliseconds: int) -> str:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=milliseconds)
    return moment.isoformat(" ", "milliseconds") + "Z"


def _or_dash(data: bytes | None) -> str | None:
    return "-" if data is None else text_of(data)


def _named(headers: Headers) -> dict[str, Any]:
    """Return headers by name; the contents of a name that comes several times are a list."""
    found: dict[str, list[str | None]] = {}
    for name, content in headers:
        found.setdefault(name, []).append(text_of(content))
    return {name: contents[0] if len(contents) == 1 else contents for name, contents in found.items()}
