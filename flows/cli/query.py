"""`flows query`: ask SQL of the tables."""

from __future__ import annotations

import asyncio

import click

from flows.cli.commands import Command
from flows.cli.options import place_options


@click.command(cls=Command, short_help="Ask SQL of the committed tables.")
@place_options
@click.argument("sql")
@click.option("--format", "how", type=click.Choice(["table", "json", "csv"]), default="table", help="How to print it.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=60.0, metavar="SECONDS",
              help="How long it may take. Default: 60.")  # fmt: skip
def query(target: str | None, broker: str | None, data: str | None, sql: str, how: str, timeout: float) -> None:
    """Ask SQL of the committed tables, of a running worker or of a data folder.

    Windows are columns window_start and window_end, in seconds since the epoch; dictionary tables have key and value.

    \b
    flows query "SELECT carrier, sum(flights) AS n FROM delays_by_carrier GROUP BY 1 ORDER BY 2 DESC"
    """
    from flows.cli.formats import show_rows
    from flows.cli.readers import ask
    from flows.cli.subject import find_subject

    subject = find_subject(target, broker=broker, data=data)
    result = asyncio.run(ask(subject, sql, timeout=timeout))
    show_rows(result.columns, result.rows, how)
