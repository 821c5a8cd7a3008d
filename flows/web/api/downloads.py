"""`/api/tables/NAME/download`: a table, or what is chosen of it, as a file."""

from __future__ import annotations

import asyncio
from typing import Literal
from urllib.parse import quote

from aiohttp import web

from flows.query.base import Missing
from flows.web.answers import bad_request, refusal
from flows.web.api.parameters import KEY, SCOPE, TABLE, WINDOW, selection_of, table_of, tables_of, window_of
from flows.web.base import CONTEXT
from flows.web.channel import counted
from flows.web.endpoint import Endpoint, Media, Parameter
from flows.web.exports import TYPES, chosen, pieces

_FORMAT = Parameter(name="format", about="csv (the default), json or parquet.", type=Literal["csv", "json", "parquet"])
_PARTIAL = Parameter(name="partial", about="1: what is there, where partitions are missing.", type=Literal["1"])


def endpoints() -> list[Endpoint]:
    """Return `GET /api/tables/NAME/download`."""
    return [
        Endpoint(
            method="GET",
            path="/api/tables/{name}/download",
            handler=download,
            parameters=(TABLE, _FORMAT, KEY, WINDOW, SCOPE, _PARTIAL),
            answer=Media(tuple(TYPES.values()), "The rows as a file."),
            streams=True,
        )
    ]


async def download(request: web.Request) -> web.StreamResponse:
    """Download a table, with all of its rows, as CSV, JSON or Parquet.

    Where partitions are missing there is no file, unless `?partial=1` asks for what is there. In CSV nested values are
    JSON; in Parquet whole numbers of 128 bits are decimals.
    """
    context, info, tables = request.app[CONTEXT], table_of(request), tables_of(request)
    how = request.query.get("format") or "csv"
    if how not in TYPES:
        raise bad_request(f"format is {how[:40]!r}; expected {', '.join(TYPES)}")
    selection = selection_of(request, info)
    with counted(context, "downloads"):
        missing: list[Missing] = []
        window = await window_of(selection, tables, info, missing)
        frame = await tables.frame(info.name, missing=missing)
        if missing and request.query.get("partial") != "1":
            return refusal(503, f"{_lacking(missing)}; ?partial=1 takes what is there", {"Retry-After": "2"})
        frame = await asyncio.to_thread(chosen, frame, info.keys, selection.key, window)
        name = quote(f"{info.name}.{how}", safe="")
        headers = {"Content-Type": TYPES[how], "Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        async for piece in pieces(frame, how):
            try:
                async with asyncio.timeout(context.limits.patience):
                    await response.write(piece)
            except TimeoutError:
                # A file that ends early would look whole: the connection is cut instead.
                if request.transport is not None:
                    request.transport.abort()
                break
    return response


def _lacking(missing: list[Missing]) -> str:
    first = missing[0]
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"partition {first.partition} of {first.table!r} is missing ({first.reason}){more}"
