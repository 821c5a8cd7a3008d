"""`flows topics`: list the topics there are, and bring their retention to what the app declares."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from flows.cli.commands import Command
from flows.cli.options import place_options

if TYPE_CHECKING:
    from flows.brokers.base import Broker, TopicSpec
    from flows.cli.subject import Subject

_COLUMNS = ("topic", "partitions", "cleanup", "retention", "records", "kind", "differs")


@click.command(cls=Command, short_help="List topics; --apply alters their retention.")
@place_options
@click.option("--format", "how", type=click.Choice(["table", "json", "csv"]), default="table", help="How to print it.")
@click.option("--apply", is_flag=True, help="Alter the retention of declared topics at the broker as declared.")
@click.option("--yes", is_flag=True, help="Do not ask before records go by a shorter retention.")
def topics(target: str | None, broker: str | None, data: str | None, how: str, apply: bool, yes: bool) -> None:
    """List the broker's topics, and those that the app declares or keeps for itself.

    Records are counted by offsets: of a compacted topic they are at most so many, and on Kafka of any, since the end
    of a transaction takes an offset too. What differs from the declaration is told; --apply alters the retention,
    which is all of a topic that can be altered.
    """
    from flows.cli.formats import show_rows
    from flows.cli.subject import find_subject

    subject = find_subject(target, broker=broker, data=data)
    if apply:
        asyncio.run(_apply(subject, yes))
    else:
        show_rows(_COLUMNS, asyncio.run(_rows(subject)), how)


async def _rows(subject: Subject) -> list[tuple[Any, ...]]:
    from flows.cli.brokers import opened_broker
    from flows.compile.names import topic_specs

    wanted = {spec.name: spec for spec in topic_specs(subject.plan)}
    async with opened_broker(subject.settings) as broker:
        there = await broker.topics()
        rows = [await _row(broker, spec, wanted.get(name)) for name, spec in sorted(there.items())]
    missing = [_described(spec, None, spec, "not made yet") for name, spec in wanted.items() if name not in there]
    return rows + missing


async def _row(broker: Broker, spec: TopicSpec, wanted: TopicSpec | None) -> tuple[Any, ...]:
    from flows.brokers.base import TopicPartition

    tps = [TopicPartition(spec.name, p) for p in range(spec.partitions)]
    starts, ends = await broker.start_offsets(tps), await broker.end_offsets(tps)
    differs = [] if wanted is None else [f"{n} declared {_setting(wanted, n)}" for n in _differing(spec, wanted)]
    return _described(spec, sum(ends.values()) - sum(starts.values()), wanted, ", ".join(differs) or None)


def _described(spec: TopicSpec, records: int | None, wanted: TopicSpec | None, differs: str | None) -> tuple[Any, ...]:
    kind = None if wanted is None else "internal" if wanted.internal else "declared"
    kept = None if spec.cleanup == "compact" else _setting(spec, "retention")
    return spec.name, spec.partitions, spec.cleanup, kept, records, kind, differs


def _differing(spec: TopicSpec, wanted: TopicSpec) -> tuple[str, ...]:
    from flows.brokers.specs import differences

    return () if wanted.internal else differences(spec, wanted)


def _setting(spec: TopicSpec, name: str) -> str:
    from dsl.durations import show

    value = getattr(spec, name)
    if name == "retention":
        return "for ever" if value is None else show(round(value * 1_000_000))
    return str(value)


async def _apply(subject: Subject, yes: bool) -> None:
    """Alter the retention of what is declared otherwise, one topic after another."""
    from flows.cli.brokers import opened_broker
    from flows.compile.names import topic_specs

    async with opened_broker(subject.settings) as broker:
        there = await broker.topics()
        wanted = [w for w in topic_specs(subject.plan) if w.name in there]
        altered = [w for w in wanted if "retention" in _differing(there[w.name], w)]
        for spec in altered:
            line = f"{spec.name}: retention {_setting(there[spec.name], 'retention')} -> {_setting(spec, 'retention')}"
            if not yes and _is_shorter(spec, there[spec.name]):
                click.confirm(f"{line}; older records are removed at once. Go on?", abort=True, err=True)
            await broker.alter_retention(spec.name, spec.retention)
            click.echo(line)
        if not altered:
            click.echo("Nothing to alter: each declared topic keeps its records as declared.", err=True)


def _is_shorter(wanted: TopicSpec, there: TopicSpec) -> bool:
    return wanted.retention is not None and (there.retention is None or wanted.retention < there.retention)
