"""`/api/tables`: which tables there are, their rows and their windows, over all workers or of this one.

Every answer has `missing`, the partitions that it lacks: `[{"table", "partition", "worker", "reason"}, …]`, empty as a
rule. `?scope=local` answers for what this worker holds.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flows.query.base import Holder, LocalTables, Missing, Row, TableInfo, Wanted
from flows.web.answers import Handler, answer, bad_request, not_found
from flows.web.api.parameters import (
    KEY,
    LIMIT,
    LOCAL,
    PARTITIONS,
    SCOPE,
    TABLE,
    WINDOW,
    limit_of,
    partitions_of,
    scope_of,
    selection_of,
    table_of,
    tables_of,
    window_of,
)
from flows.web.base import CONTEXT, Group
from flows.web.endpoint import Endpoint, Media, Parameter

_DEFAULT_ROWS = 1000
_DEFAULT_WINDOWS = 200
_LOOK_UP = ("window", "scope")
_LONGEST_KEY = 8192


class TableHeld(TableInfo, frozen=True, kw_only=True):
    """A table, and of each partition which worker has it and how far that is."""

    holders: tuple[Holder, ...] = ()


class TableRows(TableInfo, frozen=True, kw_only=True):
    """A table with rows; `selected` is the window that they are of, None for all, `limit` the most that there are."""

    selected: float | None
    limit: int
    rows: list[Row]
    missing: list[Missing]


class TableWindows(msgspec.Struct, frozen=True, kw_only=True):
    """The starts of a table's windows, newest first, in seconds since the epoch."""

    name: str
    window: str | None
    starts: list[float]
    missing: list[Missing]


class KeyRows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one key, a window each where the table has windows."""

    name: str
    selected: float | None
    rows: list[Row]
    missing: list[Missing]


def endpoints() -> list[Endpoint]:
    """Return `GET /api/tables`, and below `/api/tables/NAME` itself, `/windows`, `/lookup` and `/entries`."""
    return [
        _get("", list_tables, list[TableHeld], SCOPE),
        _get("/{name}", table_rows, TableRows, TABLE, KEY, WINDOW, LIMIT, SCOPE),
        _get("/{name}/windows", table_windows, TableWindows, TABLE, LIMIT, SCOPE, PARTITIONS),
        _get("/{name}/lookup", look_up, KeyRows, TABLE, _COLUMNS, WINDOW, SCOPE, any_query=True),
        _get("/{name}/entries", entries, _ARROW, TABLE, PARTITIONS, _EXACT, KEY, WINDOW, LIMIT, SCOPE),
    ]


_COLUMNS = Parameter(name="columns", about="The key columns, each by its own name.", type=dict[str, str])
_EXACT = Parameter(name="exact", about="The bytes of a key without window, in hexadecimal.")
_ARROW = Media(("application/vnd.apache.arrow.stream",), "Stored keys and values, as an Arrow stream.")


def _get(rest: str, handler: Handler, answer: Any, *parameters: Parameter, any_query: bool = False) -> Endpoint:
    return Endpoint(
        method="GET",
        path=f"/api/tables{rest}",
        handler=handler,
        answer=answer,
        parameters=parameters,
        any_query=any_query,
    )


async def list_tables(request: web.Request) -> web.Response:
    """List the tables by name, and which worker holds each partition."""
    group = request.app[CONTEXT].group
    infos = sorted(tables_of(request).list(), key=lambda info: info.name)
    if group is None or scope_of(request) == LOCAL:
        return answer(infos)
    holders = await group.holders()
    return answer([TableHeld(**msgspec.structs.asdict(i), holders=tuple(holders.get(i.name, ()))) for i in infos])


async def table_rows(request: web.Request) -> web.Response:
    """Read rows, newest window first.

    `?window=newest` is the newest window; `selected` says which one that is, or null for all windows.
    """
    context, info, tables = request.app[CONTEXT], table_of(request), tables_of(request)
    limit = limit_of(request, _DEFAULT_ROWS, context.limits.rows)
    selection = selection_of(request, info)
    missing: list[Missing] = []
    window = await window_of(selection, tables, info, missing)
    rows = await tables.rows(info.name, key=selection.key, window=window, limit=limit, missing=missing)
    about = msgspec.structs.asdict(info)
    return answer(TableRows(**about, selected=window, limit=limit, rows=rows, missing=missing))


async def table_windows(request: web.Request) -> web.Response:
    """List the windows that there are, newest first.

    With `?scope=local&partitions=` only those are read, and what is not here is told, as other workers need it.
    """
    context, info, tables = request.app[CONTEXT], table_of(request), tables_of(request)
    limit = limit_of(request, _DEFAULT_WINDOWS, context.limits.rows)
    missing: list[Missing] = []
    if "partitions" in request.query and scope_of(request) == LOCAL:
        wanted = partitions_of(request, info)
        starts, missing = await _group(request).local.starts(info.name, [*wanted], limit=limit)
    else:
        starts = await tables.windows(info.name, limit=limit, missing=missing)
    return answer(TableWindows(name=info.name, window=info.window, starts=starts, missing=missing))


async def look_up(request: web.Request) -> web.Response:
    """Look up one key, given by the whole text of each key column: `?carrier=AA&window=newest`.

    The one worker that can have it is asked, where that follows from the key, else all.
    """
    context, info = request.app[CONTEXT], table_of(request)
    selection = selection_of(request, info, keyed=False)
    key = {name: text for name, text in request.query.items() if name not in _LOOK_UP or name in info.keys}
    if any(len(text) > _LONGEST_KEY for text in key.values()):
        raise bad_request(f"a key column is longer than {_LONGEST_KEY} characters")
    missing: list[Missing] = []
    window = await window_of(selection, context.tables, info, missing)
    lacks: list[Missing] = []
    rows = await _group(request).look_up(info.name, key, window, lacks)
    return answer(KeyRows(name=info.name, selected=window, rows=rows, missing=missing or lacks))


async def entries(request: web.Request) -> web.StreamResponse:
    """Read the stored entries of partitions, as workers ask each other for them."""
    info = table_of(request)
    exact = request.query.get("exact")
    try:
        key = None if exact is None else bytes.fromhex(exact)
    except ValueError:
        raise bad_request("exact is no hexadecimal text") from None
    selection = selection_of(request, info)
    limit = None if "limit" not in request.query else limit_of(request, 1, request.app[CONTEXT].limits.rows)
    wanted = Wanted(
        partitions=partitions_of(request, info),
        key=selection.key,
        exact=key,
        window=selection.window,
        limit=limit,
    )
    tables: LocalTables = _group(request).local
    # The head at once: it tells the asking worker that this one is alive, however long the reading takes.
    response = web.StreamResponse(headers={"Content-Type": "application/vnd.apache.arrow.stream"})
    await response.prepare(request)
    await response.write(await tables.packed(info.name, wanted))
    await response.write_eof()
    return response


def _group(request: web.Request) -> Group:
    group = request.app[CONTEXT].group
    if group is None:
        raise not_found("this server knows no workers")
    return group
