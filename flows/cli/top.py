"""`flows top`: how all workers of an app are, in the terminal."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from flows.cli.commands import Command
from flows.cli.options import place_options
from flows.errors import FlowsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flows.cli.subject import Subject
    from flows.web.base import GroupStatus


@click.command(cls=Command, short_help="Watch all workers of an app.")
@place_options
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, metavar="SECONDS",
              help="How often it asks. Default: 1.")  # fmt: skip
@click.option("--once", is_flag=True, help="Print what is, and end; so it does where the output is no terminal.")
def top(target: str | None, broker: str | None, data: str | None, interval: float, once: bool) -> None:
    """Watch the workers of an app: what is wrong, rates, lag, latency, where the time goes; until Ctrl-C.

    Any worker answers for all. It is found by the broker, as `flows query` finds it.
    """
    from flows.cli.subject import find_subject

    subject = find_subject(target, broker=broker, data=data)
    with suppress(KeyboardInterrupt):  # the way to end it
        asyncio.run(_watch(subject, interval, once or not sys.stdout.isatty()))


async def _watch(subject: Subject, interval: float, once: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from flows.cli.top_view import view

    console = Console()
    shown = view(subject.plan.app, await _ask(subject), time.time())
    if once:
        console.print(shown)
        return
    with Live(shown, console=console, screen=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(interval)
            live.update(await _next(subject), refresh=True)


async def _next(subject: Subject) -> RenderableType:
    """Return what is to be shown next; while nobody answers, that."""
    from rich.text import Text

    from flows.cli.top_view import view

    try:
        return view(subject.plan.app, await _ask(subject), time.time())
    except FlowsError as error:
        return Text(f"{error}; tries again", style="bold red")


async def _ask(subject: Subject) -> GroupStatus:
    """Ask the workers one after another until one answers. Raises `FlowsError` where none does."""
    from flows.cli.brokers import opened_broker
    from flows.cli.http import Unreachable
    from flows.cli.readers import running_workers

    silent: FlowsError | None = None
    async with opened_broker(subject.settings) as broker:
        for worker in running_workers(subject, await broker.group_members(subject.plan.app)):
            try:
                return await worker.group()
            except Unreachable as error:
                silent = error
    raise silent or FlowsError(f"no worker of {subject.plan.app!r} runs that could be asked", fix="run `flows worker`")
