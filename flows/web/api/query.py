"""`/api/query`: SQL over the live tables."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from flows.query.base import Missing
from flows.web.answers import answer, bad_request
from flows.web.api.parameters import body_of
from flows.web.base import CONTEXT
from flows.web.channel import counted
from flows.web.endpoint import Endpoint


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a query."""

    sql: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a query found: rows of values in the order of `columns`, and the partitions that the answer lacks."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    missing: list[Missing]


def endpoints() -> list[Endpoint]:
    """Return `POST /api/query`."""
    return [Endpoint(method="POST", path="/api/query", handler=ask, body=Question, answer=Found)]


async def ask(request: web.Request) -> web.Response:
    """Ask SQL of the tables of all workers: one SELECT.

    Rows beyond the limit are cut off, and said to be; `missing` names the partitions that the answer lacks.
    """
    context = request.app[CONTEXT]
    question: Question = await body_of(request, Question, '{"sql": "…"}')
    if not question.sql.strip():
        raise bad_request("the query is empty; try SELECT * FROM a table of /api/tables")
    with counted(context, "queries"):
        result = await context.query(question.sql)
    kept = result.rows[: context.limits.rows]
    return answer(
        Found(
            columns=list(result.columns),
            rows=list(map(list, kept)),
            truncated=result.truncated or len(result.rows) > len(kept),
            missing=list(result.missing),
        )
    )
