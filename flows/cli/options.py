"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

app_option = click.option(
    "-A", "--app", "target", metavar="MODULE[:APP]", help="The app: a module, or a path to a file or folder."
)
broker_option = click.option(
    "--broker", metavar="URL", help="The broker, such as embedded:///path. Default: embedded, in the data folder."
)
data_option = click.option(
    "--data", metavar="DIR", type=click.Path(), help="The data folder. Default: .flows/APP in the working directory."
)


def place_options(function: Function) -> Function:
    """Add `-A`, `--broker` and `--data`: which app, and where its records and tables are."""
    return app_option(broker_option(data_option(function)))
