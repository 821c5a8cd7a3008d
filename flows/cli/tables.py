"""`flows tables`: list the tables there are."""

from __future__ import annotations

import asyncio

import click

from flows.cli.commands import Command
from flows.cli.options import place_options


@click.command(cls=Command)
@place_options
@click.option("--format", "how", type=click.Choice(["table", "json", "csv"]), default="table", help="How to print it.")
def tables(target: str | None, broker: str | None, data: str | None, how: str) -> None:
    """List an app's tables with their columns."""
    import msgspec

    from flows.cli.formats import as_json, show_rows
    from flows.cli.readers import list_tables
    from flows.cli.subject import find_subject

    infos = asyncio.run(list_tables(find_subject(target, broker=broker, data=data)))
    if how == "json":
        fields = [msgspec.structs.asdict(info) for info in infos]
        click.echo(as_json(list(fields[0]) if fields else [], [list(f.values()) for f in fields]))
        return
    rows = [
        (i.name, i.kind, ", ".join(f"{name}: {type_}" for name, type_ in i.columns), i.window, len(i.partitions))
        for i in infos
    ]
    show_rows(("table", "kind", "columns", "window", "partitions"), rows, how)
