"""`flows send`: append records to a topic."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from flows.cli.commands import Command
from flows.cli.options import place_options
from flows.errors import FlowsError, UsageError

if TYPE_CHECKING:
    from flows.brokers.base import Broker
    from flows.cli.outgoing import RecordMaker
    from flows.cli.subject import Subject

_BATCH = 10_000


@click.command(cls=Command)
@place_options
@click.argument("topic")
@click.argument("value")
@click.option("--key", metavar="TEXT", help="The message key. Default: the topic's declared key field.")
@click.option("--timestamp", metavar="TIME", help="Seconds since the epoch, or ISO 8601. Default: now.")
@click.option("--partition", type=click.IntRange(min=0), help="Default: by the key.")
def send(
    target: str | None,
    broker: str | None,
    data: str | None,
    topic: str,
    value: str,
    key: str | None,
    timestamp: str | None,
    partition: int | None,
) -> None:
    """Append a record to a topic.

    VALUE is JSON; with - as VALUE, each line of standard input is one.

    \b
    flows send departures '{"carrier": "UA", "origin": "EWR", "delay": 3.0, "at": 1357034400}'
    """
    from flows.cli.subject import find_subject

    subject = find_subject(target, broker=broker, data=data)
    when = time.time() if timestamp is None else _moment(timestamp)
    lines = _lines(sys.stdin.buffer) if value == "-" else [(0, value.encode())]
    count = asyncio.run(_send(subject, topic, lines, key, when, partition))
    click.echo(f"{count} {'record' if count == 1 else 'records'} sent to {topic}", err=True)


async def _send(
    subject: Subject,
    topic: str,
    lines: Iterable[tuple[int, bytes]],
    key: str | None,
    when: float,
    partition: int | None,
) -> int:
    from flows.cli.brokers import opened_broker
    from flows.cli.codecs import opened_codecs
    from flows.cli.outgoing import record_maker

    async with opened_broker(subject.settings, create=True) as broker, opened_codecs(subject) as codecs:
        maker = await record_maker(broker, subject.plan, codecs, topic, key, round(when * 1000), partition)
        sent = 0
        for number, line in lines:
            try:
                maker.add(line)
            except FlowsError as error:
                sent += await _produce(broker, maker)
                raise _at_line(error, number, sent) from None
            if len(maker) >= _BATCH:
                sent += await _produce(broker, maker)
        return sent + await _produce(broker, maker)


async def _produce(broker: Broker, maker: RecordMaker) -> int:
    outputs, count = maker.take()
    if outputs:
        await broker.produce(outputs)
    return count


def _at_line(error: FlowsError, number: int, sent: int) -> FlowsError:
    if not number:
        return error
    before = {0: "nothing was sent", 1: "the record before it was sent"}.get(
        sent, f"{sent} records before it were sent"
    )
    return FlowsError(f"line {number}: {error.message} ({before})", fix=error.fix)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(stream, 1):
        if stripped := line.strip():
            yield number, stripped


def _moment(text: str) -> float:
    from flows.clock import moment

    try:
        return moment(text)
    except ValueError:
        raise UsageError(
            f"--timestamp {text!r} is no time", fix="write seconds since the epoch, or 2013-01-01T05:00:00"
        ) from None
