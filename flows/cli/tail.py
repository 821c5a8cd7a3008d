"""`flows tail`: print a topic's records as they come."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from flows.cli.commands import Command
from flows.cli.options import place_options
from flows.errors import UsageError

if TYPE_CHECKING:
    from flows.brokers.base import Broker, TopicPartition
    from flows.cli.subject import Subject


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
    from flows.cli.codecs import opened_codecs
    from flows.cli.record_lines import json_lines, text_lines
    from flows.run.reading import read_records
    from flows.run.showing import shown

    lines = json_lines if how == "json" else text_lines
    async with opened_broker(subject.settings) as broker, opened_codecs(subject) as codecs:
        tps = await _partitions(broker, subject, topic, partition)
        ends = await broker.end_offsets(tps)
        starts = await broker.start_offsets(tps) if from_beginning else ends
        async for records in read_records(broker, starts, None if follow else ends, limit):
            click.echo("\n".join(lines(await shown(records, subject.plan, codecs))))


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
