"""Rows on standard output: as a table for people, as JSON or CSV for machines."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click
import msgspec

FORMATS = ("table", "json", "csv")
_BOUNDS = ("window_start", "window_end")
_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], how: str) -> None:
    """Print rows in one of `FORMATS`."""
    if how == "json":
        click.echo(as_json(columns, rows))
    elif how == "csv":
        click.echo(as_csv(columns, rows), nl=False)
    else:
        _show_table(columns, rows)


def as_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return an array of objects, one a line. What JSON lacks (NaN) is null.

    >>> print(as_json(["a", "b"], [(1, None)]))
    [
    {"a":1,"b":null}
    ]
    """
    lines = [_encode(dict(zip(columns, map(_plain, row), strict=True))).decode() for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a header and a line a row; null is empty, lists and dicts are JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _plain(value: Any) -> Any:
    """Show bytes as their text where they are UTF-8, as a worker's page does; base64 is left for others."""
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    return value


def _cell(value: Any) -> Any:
    value = _plain(value)
    if value is None or isinstance(value, str | int | float):
        return value
    text = _encode(value).decode()
    return text[1:-1] if text.startswith('"') else text


def _show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows) and column not in _BOUNDS
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_readable(c, v)) for c, v in zip(columns, row, strict=True)))
    text = io.StringIO()
    terminal = Console()
    width = terminal.width if terminal.is_terminal else 10_000
    Console(file=text, width=width, force_terminal=False, no_color=True).print(table)
    click.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))
    click.echo(f"({len(rows)} {'row' if len(rows) == 1 else 'rows'})", err=True)


def _readable(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column in _BOUNDS and isinstance(value, int | float):
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=value)
        return moment.isoformat(" ").replace("+00:00", "Z")
    return f"{value:.6g}" if isinstance(value, float) and value % 1 else str(_cell(value))
