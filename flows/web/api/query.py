"""`/api/query`: SQL over the live tables."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flows.web.answers import answer, bad_request
from flows.web.base import CONTEXT


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a query."""

    sql: str


def routes() -> list[web.AbstractRouteDef]:
    """Return `POST /api/query`."""
    return [web.post("/api/query", ask)]


async def ask(request: web.Request) -> web.Response:
    """Answer `{"columns", "rows", "truncated", "missing"}` to `{"sql": …}`, over the tables of all workers.

    Rows beyond the limit are cut off, and said to be; `missing` names the partitions that the answer lacks.
    """
    # A form of another site can post text, but never this content type without asking first.
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text='send {"sql": "…"} with Content-Type: application/json')
    context = request.app[CONTEXT]
    question = _decode(await request.read())
    result = await context.query(question.sql)
    kept = result.rows[: context.limits.rows]
    return answer(
        {
            "columns": list(result.columns),
            "rows": list(kept),
            "truncated": result.truncated or len(result.rows) > len(kept),
            "missing": list(result.missing),
        },
    )


def _decode(body: bytes) -> Question:
    try:
        question = msgspec.json.decode(body, type=Question)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f'expected {{"sql": "…"}}: {error}') from error
    if not question.sql.strip():
        raise bad_request("the query is empty; try SELECT * FROM a table of /api/tables")
    return question
