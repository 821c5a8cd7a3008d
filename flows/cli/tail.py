"""`flows tail`: print a topic's records as they come."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

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
@click.option("--no-follow", is_flag=True, help="With --from-beginning: stop after the records that are there.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N records.")
@click.option("--partition", type=click.IntRange(min=0), help="Only this partition.")
@click.option("--format", "how", type=click.Choice(["text", "json"]), default="text", help="Lines, or JSON lines.")
@click.option("--json", "how", flag_value="json", help="The same as --format json.")
def tail(
    target: str | None,
    broker: str | None,
    data: str | None,
    topic: str,
    from_beginning: bool,
    no_follow: bool,
    limit: int | None,
    partition: int | None,
    how: str,
) -> None:
    """Print a topic's records and their headers as they come, until Ctrl-C, --limit or --no-follow.

    \b
    flows tail shop-dead-letters --from-beginning --no-follow
    """
    from flows.cli.subject import find_subject

    if no_follow and not from_beginning:
        raise UsageError("--no-follow alone has nothing to print", fix="add --from-beginning")
    subject = find_subject(target, broker=broker, data=data)
    with suppress(KeyboardInterrupt):  # the way to end it
        asyncio.run(_tail(subject, topic, from_beginning, not no_follow, limit, partition, how))


async def _tail(
    subject: Subject,
    topic: str,
    from_beginning: bool,
    follow: bool,
    limit: int | None,
    partition: int | None,
    how: str,
) -> None:
    from flows.cli.brokers import opened_broker
    from flows.cli.codecs import opened_codecs, shown
    from flows.cli.record_lines import json_lines, text_lines

    lines = json_lines if how == "json" else text_lines
    async with opened_broker(subject.settings) as broker, opened_codecs(subject) as codecs:
        tps = await _partitions(broker, subject, topic, partition)
        ends = await broker.end_offsets(tps)
        starts = await broker.start_offsets(tps) if from_beginning else ends
        async for records in read_records(broker, starts, None if follow else ends, limit):
            click.echo("\n".join(lines(await shown(records, subject.plan, codecs))))


async def read_records(
    broker: Broker, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int] | None, limit: int | None
) -> AsyncIterator[Records]:
    """Yield records from `starts` on, up to `limit` of them, and up to `ends` where there are any."""
    reader = broker.reader(starts)
    left = limit
    try:
        while ends is None or any(reader.position(tp) < end for tp, end in ends.items()):
            for records in await reader.fetch(_BATCH if left is None else min(_BATCH, left), _WAIT):
                count = len(records) if ends is None else bisect_left(records.offsets, ends[records.tp])
                count = count if left is None else min(count, left)
                if count:
                    yield records.split(count)[0]
                left = None if left is None else left - count
                if left == 0:
                    return
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
