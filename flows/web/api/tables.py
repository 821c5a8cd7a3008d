"""`/api/tables`: which tables there are, their rows and their windows, over all workers or of this one.

Every answer has `missing`, the partitions that it lacks: `[{"table", "partition", "worker", "reason"}, …]`, empty as a
rule. `?scope=local` answers for what this worker holds.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from flows.query.base import LocalTables, Missing, Wanted
from flows.web.answers import answer, bad_request, not_found
from flows.web.api.parameters import (
    LOCAL,
    limit_of,
    partitions_of,
    scope_of,
    selection_of,
    table_of,
    tables_of,
    window_of,
)
from flows.web.base import CONTEXT, Group

_DEFAULT_ROWS = 1000
_DEFAULT_WINDOWS = 200
_LOOK_UP = ("window", "scope")
_LONGEST_KEY = 8192


def routes() -> list[web.AbstractRouteDef]:
    """Return `GET /api/tables`, and below `/api/tables/NAME` itself, `/windows`, `/lookup` and `/entries`."""
    return [
        web.get("/api/tables", list_tables),
        web.get("/api/tables/{name}", table_rows),
        web.get("/api/tables/{name}/windows", table_windows),
        web.get("/api/tables/{name}/lookup", look_up),
        web.get("/api/tables/{name}/entries", entries),
    ]


async def list_tables(request: web.Request) -> web.Response:
    """Answer `[{"name", "kind", "columns": [[name, type], …], "keys", "window", "partitions", "holders"}, …]`, by name.

    `holders` tells of each partition which worker has it and how far that is:
    `{"partition", "worker", "state", "done", "total"}`.
    """
    group = request.app[CONTEXT].group
    infos = sorted(tables_of(request).list(), key=lambda info: info.name)
    if group is None or scope_of(request) == LOCAL:
        return answer(infos)
    holders = await group.holders()
    return answer([{**msgspec.structs.asdict(info), "holders": holders.get(info.name, [])} for info in infos])


async def table_rows(request: web.Request) -> web.Response:
    """Answer the table's description with `rows`, `?key=&window=&limit=` applied, and the `limit` that held.

    `?window=newest` is the newest window; `selected` says which one that is, or null for all windows.
    """
    context, info, tables = request.app[CONTEXT], table_of(request), tables_of(request)
    limit = limit_of(request, _DEFAULT_ROWS, context.limits.rows)
    selection = selection_of(request, info)
    missing: list[Missing] = []
    window = await window_of(selection, tables, info, missing)
    rows = await tables.rows(info.name, key=selection.key, window=window, limit=limit, missing=missing)
    found = {"selected": window, "limit": limit, "rows": rows, "missing": missing}
    return answer({**msgspec.structs.asdict(info), **found})


async def table_windows(request: web.Request) -> web.Response:
    """Answer `{"name", "window", "starts"}`, newest first, in seconds since the epoch; `?limit=`.

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
    return answer({"name": info.name, "window": info.window, "starts": starts, "missing": missing})


async def look_up(request: web.Request) -> web.Response:
    """Answer the rows of one key, given by the whole text of each key column: `?carrier=AA&window=newest`."""
    context, info = request.app[CONTEXT], table_of(request)
    selection = selection_of(request, info, keyed=False)
    key = {name: text for name, text in request.query.items() if name not in _LOOK_UP or name in info.keys}
    if any(len(text) > _LONGEST_KEY for text in key.values()):
        raise bad_request(f"a key column is longer than {_LONGEST_KEY} characters")
    missing: list[Missing] = []
    window = await window_of(selection, context.tables, info, missing)
    lacks: list[Missing] = []
    rows = await _group(request).look_up(info.name, key, window, lacks)
    return answer({"name": info.name, "selected": window, "rows": rows, "missing": missing or lacks})


async def entries(request: web.Request) -> web.StreamResponse:
    """Answer the stored entries of `?partitions=` as an Arrow stream: what workers ask each other for."""
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
