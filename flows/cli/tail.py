"""`flows tail`: print a topic's records as they come."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from flows.cli.commands import Command
from flows.cli.options import place_options
from flows.errors import UsageError

if TYPE_CHECKING:
    from flows.brokers.base import Broker, Records, TopicPartition
    from flows.cli.subject import Subject

_BATCH = 1000
_WAIT = 0.5


@click.command(cls=Command, short_help="Print a topic's records as they come.")
@place_options
@click.argument("topic")
@click.option("--from-beginning", is_flag=True, help="Start at the oldest record. Default: at the next one.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N records.")
@click.option("--partition", type=click.IntRange(min=0), help="Only this partition.")
@click.option("--format", "how", type=click.Choice(["text", "json"]), default="text", help="Lines, or JSON lines.")
def tail(
    target: str | None,
    broker: str | None,
    data: str | None,
    topic: str,
    from_beginning: bool,
    limit: int | None,
    partition: int | None,
    how: str,
) -> None:
    """Print a topic's records as they come, until Ctrl-C or --limit."""
    from flows.cli.subject import find_subject

    subject = find_subject(target, broker=broker, data=data)
    with suppress(KeyboardInterrupt):  # the way to end it
        asyncio.run(_tail(subject, topic, from_beginning, limit, partition, how))


async def _tail(
    subject: Subject, topic: str, from_beginning: bool, limit: int | None, partition: int | None, how: str
) -> None:
    from flows.cli.brokers import opened_broker

    async with opened_broker(subject.settings) as broker:
        tps = await _partitions(broker, subject, topic, partition)
        starts = await (broker.start_offsets(tps) if from_beginning else broker.end_offsets(tps))
        reader = broker.reader(starts)
        left = limit
        try:
            while left is None or left > 0:
                for records in await reader.fetch(_BATCH if left is None else min(_BATCH, left), _WAIT):
                    kept = records if left is None else records.split(left)[0]
                    left = None if left is None else left - len(kept)
                    click.echo("\n".join(_lines(kept, how)))
                    if left == 0:
                        break
        finally:
            await reader.close()


async def _partitions(broker: Broker, subject: Subject, topic: str, partition: int | None) -> list[TopicPartition]:
    from flows.brokers.base import TopicPartition
    from flows.cli.outgoing import unknown_topic

    there = await broker.topics()
    if topic not in there:
        raise unknown_topic(topic, subject.plan, set(there))
    count = there[topic].partitions
    if partition is not None and partition >= count:
        raise UsageError(f"topic {topic!r} has no partition {partition}", fix=f"it has 0 to {count - 1}")
    return [TopicPartition(topic, p) for p in ([partition] if partition is not None else range(count))]


def _lines(records: Records, how: str) -> Iterator[str]:
    import msgspec

    encode = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode
    for offset, time, key, value in zip(records.offsets, records.timestamps, records.keys, records.values, strict=True):
        if how == "json":
            place = {"topic": records.tp.topic, "partition": records.tp.partition, "offset": offset, "timestamp": time}
            yield encode({**place, "key": _text(key), "value": _value(value)}).decode()
        else:
            shown = "-" if key is None else _text(key)
            yield f"{records.tp}@{offset}  {_clock(time)}  {shown}  {'-' if value is None else _text(value)}"


def _clock(milliseconds: int) -> str:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=milliseconds)
    return moment.isoformat(" ", "milliseconds") + "Z"


def _text(data: bytes | None) -> str | None:
    """Return text as it is; of other bytes, msgpack as JSON, or else their hexadecimal form."""
    import msgspec

    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        try:
            return msgspec.json.encode(msgspec.msgpack.decode(data), enc_hook=str).decode()
        except (msgspec.MsgspecError, TypeError, ValueError):
            return f"0x{data.hex()}"


def _value(data: bytes | None) -> Any:
    """Return a value as JSON where it is some."""
    import msgspec

    text = _text(data)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
