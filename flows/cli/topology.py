"""`flows topology`: print an app's plan."""

from __future__ import annotations

import click

from flows.cli.commands import Command
from flows.cli.options import app_option


@click.command(cls=Command)
@app_option
@click.option(
    "--format", "how", type=click.Choice(["text", "mermaid", "json"]), default="text", help="How to print it."
)
def topology(target: str | None, how: str) -> None:
    """Print what an app reads, computes, keeps and writes."""
    from dsl.plan.explain import explain_json, explain_text
    from dsl.plan.mermaid import explain_mermaid
    from flows.discovery import find_app

    explain = {"text": explain_text, "mermaid": explain_mermaid, "json": explain_json}[how]
    click.echo(explain(find_app(target).plan()), nl=False)
