"""`/api/tables`: which tables there are, their rows and their windows."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flows.web.answers import answer
from flows.web.api.parameters import limit_of, selection_of, table_of, window_of
from flows.web.base import CONTEXT

_DEFAULT_ROWS = 1000
_DEFAULT_WINDOWS = 200


def routes() -> list[web.AbstractRouteDef]:
    """Return `GET /api/tables`, `/api/tables/NAME` and `/api/tables/NAME/windows`."""
    return [
        web.get("/api/tables", list_tables),
        web.get("/api/tables/{name}", table_rows),
        web.get("/api/tables/{name}/windows", table_windows),
    ]


async def list_tables(request: web.Request) -> web.Response:
    """Answer `[{"name", "kind", "columns": [[name, type], …], "keys", "window", "partitions"}, …]`, by name."""
    return answer(sorted(request.app[CONTEXT].tables.list(), key=lambda info: info.name))


async def table_rows(request: web.Request) -> web.Response:
    """Answer the table's description with `rows`, `?key=&window=&limit=` applied, and the `limit` that held.

    `?window=newest` is the newest window; `selected` says which one that is, or null for all windows.
    """
    context, info = request.app[CONTEXT], table_of(request)
    limit = limit_of(request, _DEFAULT_ROWS, context.limits.rows)
    selection = selection_of(request, info)
    window = await window_of(selection, context.tables, info)
    rows = await context.tables.rows(info.name, key=selection.key, window=window, limit=limit)
    return answer({**msgspec.structs.asdict(info), "selected": window, "limit": limit, "rows": rows})


async def table_windows(request: web.Request) -> web.Response:
    """Answer `{"name", "window", "starts"}`, newest first, in seconds since the epoch; `?limit=`."""
    context, info = request.app[CONTEXT], table_of(request)
    limit = limit_of(request, _DEFAULT_WINDOWS, context.limits.rows)
    starts = await context.tables.windows(info.name, limit=limit)
    return answer({"name": info.name, "window": info.window, "starts": starts})
