"""SQL over tables by DuckDB: in memory, in a thread, cut off from files, network and settings.

1. A connection is opened whose time zone is UTC, whose external access is off and whose configuration is locked.
2. The statement is checked; only the tables that it names are read.
3. They are registered as frames and the statement runs, up to `max_rows` rows and `timeout` seconds.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import duckdb
import msgspec
import polars as pl

from dsl.errors import nearest
from flows.query.base import Missing, Tables
from flows.query.statement import QueryError, first_line, read_statement
from flows.query.wide import as_arrow, without_decimals

_CONFIG = {
    "python_enable_replacements": "false",
    "temp_directory": "",
    "memory_limit": "512MB",
    "threads": "2",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
DEFAULT_ROWS = 20_000
"""More than a page shows, so that it can tell that there was more."""

# `to_timestamp`, `hour` and the text of a zoned time follow this setting, whose default is the machine's zone.
_LOCKS = ("SET TimeZone='UTC'", "SET enable_external_access=false", "SET lock_configuration=true")
_ZONED = "TIMESTAMP WITH TIME ZONE"
_UNKNOWN_COLUMN = re.compile(r'Referenced column "([^"\n]+)" (?:was )?not found|have a column named "([^"\n]+)"')


class Result(msgspec.Struct, frozen=True):
    """The rows of a query; `truncated` tells that there were more than asked for, `missing` what was not read."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool = False
    missing: tuple[Missing, ...] = ()

    def objects(self) -> list[dict[str, Any]]:
        """Return each row as a dict."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


async def run_sql(sql: str, tables: Tables, *, max_rows: int | None = DEFAULT_ROWS, timeout: float = 10.0) -> Result:
    """Run one SELECT over tables. Raises `QueryError` with one line: what is wrong and the nearest right name."""
    # 1
    connection = await asyncio.to_thread(_open)
    try:
        # 2
        known = [t.name for t in tables.list()]
        statement = await asyncio.to_thread(read_statement, connection, sql, known)
        missing: list[Missing] = []
        frames = {name: await tables.frame(name, missing=missing) for name in sorted(statement.tables)}
        # 3
        result = await _within(connection, timeout, sql, frames, max_rows)
        return msgspec.structs.replace(result, missing=tuple(missing))
    finally:
        connection.close()


def _open() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=dict(_CONFIG))
    for lock in _LOCKS:
        connection.execute(lock)
    return connection


async def _within(
    connection: duckdb.DuckDBPyConnection,
    timeout: float,
    sql: str,
    frames: Mapping[str, pl.DataFrame],
    max_rows: int | None,
) -> Result:
    work = asyncio.ensure_future(asyncio.to_thread(_run, connection, sql, frames, max_rows))
    try:
        return await asyncio.wait_for(asyncio.shield(work), timeout)
    except TimeoutError:
        raise QueryError(f"the query took longer than {timeout:g} s", fix="ask for less, or allow more time") from None
    finally:
        # An interrupt that comes between two steps of DuckDB is lost, so it is repeated until the thread is out.
        while not work.done():
            connection.interrupt()
            await asyncio.wait({work}, timeout=0.05)
        with suppress(QueryError):
            work.result()


def _run(
    connection: duckdb.DuckDBPyConnection, sql: str, frames: Mapping[str, pl.DataFrame], max_rows: int | None
) -> Result:
    try:
        for name, frame in frames.items():
            connection.register(name, as_arrow(frame))
        cursor = connection.execute(sql)
        kinds = [(str(d[0]), str(d[1])) for d in cursor.description or ()]
        zoned = [kind == _ZONED for _, kind in kinds]
        if any(zoned):
            cursor = connection.execute(_without_zones(sql, zoned))
        rows = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
    except duckdb.Error as error:
        raise QueryError(_explained(error, frames)) from None
    kept = rows if max_rows is None else rows[:max_rows]
    if any("DECIMAL" in kind for _, kind in kinds):
        kept = [tuple(map(without_decimals, row)) for row in kept]
    return Result([name for name, _ in kinds], [_with_zones(r, zoned) for r in kept], len(kept) < len(rows))


def _without_zones(sql: str, zoned: list[bool]) -> str:
    """Read zoned timestamps as plain ones of UTC: DuckDB needs pytz to hand out the others."""
    names = [f"c{i}" for i in range(len(zoned))]
    shown = (f"CAST({n} AS TIMESTAMP)" if z else n for n, z in zip(names, zoned, strict=True))
    return f"SELECT {', '.join(shown)} FROM (\n{sql.rstrip().rstrip(';')}\n) AS zoned({', '.join(names)})"


def _with_zones(row: tuple[Any, ...], zoned: list[bool]) -> tuple[Any, ...]:
    if not any(zoned):
        return row
    pairs = zip(row, zoned, strict=True)
    return tuple(v.replace(tzinfo=dt.UTC) if z and isinstance(v, dt.datetime) else v for v, z in pairs)


def _explained(error: duckdb.Error, frames: Mapping[str, pl.DataFrame]) -> str:
    """Return DuckDB's complaint in one line, with the nearest right column where one is unknown."""
    message = str(error)
    found = _UNKNOWN_COLUMN.search(message) if isinstance(error, duckdb.BinderException) else None
    if found is None:
        return first_line(error)
    column = found[1] or found[2]
    known = [c for f in frames.values() for c in f.columns]
    close = nearest(column, known)
    listed = ", ".join(dict.fromkeys(known)) or "none"
    return f"there is no column {column!r}; " + (f"did you mean {close!r}?" if close else f"columns: {listed}")
