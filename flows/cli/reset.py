"""`flows reset`: let an app, or one of its tables, begin anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from flows.cli.commands import Command
from flows.cli.options import place_options
from flows.errors import UsageError

if TYPE_CHECKING:
    from flows.cli.subject import Subject


@click.command(cls=Command, short_help="Let an app, or one of its tables, begin anew.")
@place_options
@click.option("--table", metavar="NAME", help="Empty this table; the app goes on from where it is.")
@click.option("--all", "everything", is_flag=True, help="Forget all tables and positions; inputs are read again.")
@click.option("--dry-run", is_flag=True, help="Only print what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(
    target: str | None,
    broker: str | None,
    data: str | None,
    table: str | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Let an app begin anew, while none of its workers runs.

    --all removes its local state, changelogs, repartition topics and committed positions: the next start reads its
    inputs from the oldest record that they still hold, and writes its outputs again. Sources do not feed their topics
    twice.

    --table removes one table's rows and changelog. The positions belong to all tables of a task, so they stay: the
    table is empty and takes what comes from now on. Only --all computes a table again from the beginning.

    Declared topics, dead letters and late records are never removed.
    """
    from flows.cli.subject import find_subject

    if everything == (table is not None):
        raise UsageError("flows reset needs to know what goes", fix="give --all, or --table NAME")
    subject = find_subject(target, broker=broker, data=data)
    asyncio.run(_reset(subject, table, dry_run, yes))


async def _reset(subject: Subject, table: str | None, dry_run: bool, yes: bool) -> None:
    from flows.cli.brokers import opened_broker
    from flows.cli.kept import check_stopped, find_kept, remove

    async with opened_broker(subject.settings) as broker:
        await check_stopped(broker, subject.plan.app)
        kept = await find_kept(broker, subject, table)
        click.echo("\n".join(kept.lines()))
        if dry_run:
            return
        if not yes:
            click.confirm("Remove all this?", abort=True, err=True)
        await check_stopped(broker, subject.plan.app)
        await remove(broker, kept)
        click.echo(f"{subject.plan.app if table is None else f'table {table}'} begins anew", err=True)
