"""What the API can be asked: each route with its description, of which the OpenAPI document is made.

A route exists by its description only, and takes no parameter that it does not describe.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web

from dsl.errors import nearest
from flows.web.answers import bad_request

_PLACE = re.compile(r"\{(\w+)\}")


class Problem(msgspec.Struct, frozen=True):
    """Why a request got no answer, in a few words."""

    error: str


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a path, a query or a header; `type` is what JSON Schema is made of."""

    name: str
    about: str
    type: Any = str
    where: Literal["path", "query", "header"] = "query"


class Media(msgspec.Struct, frozen=True):
    """An answer or a body that is no JSON: its content types, and what is in them."""

    types: tuple[str, ...]
    about: str


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One route. Its handler's docstring tells what it does; `answer` is the type of the JSON of a 200, or a `Media`.

    `others` are answers of other statuses; errors without an entry there are a `Problem`. With `any_query` it takes
    parameters that depend on what is asked for. `secret` is false where no token is asked for; `streams` where the
    answer has no end.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[web.Request], Any]
    answer: Any
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    others: Mapping[int, Any] = {}
    any_query: bool = False
    secret: bool = True
    streams: bool = False

    def __post_init__(self) -> None:
        told = {p.name for p in self.parameters if p.where == "path"}
        if set(_PLACE.findall(self.path)) != told:
            raise TypeError(f"{self.path}: the parameters of the path are not those that are described, {sorted(told)}")
        if not self.handler.__doc__:
            raise TypeError(f"{self.path}: its handler has no docstring to tell what it does")

    @property
    def summary(self) -> str:
        """The first paragraph of the handler's docstring."""
        return self._paragraphs()[0]

    @property
    def about(self) -> str:
        """The rest of it."""
        return "\n\n".join(self._paragraphs()[1:])

    def _paragraphs(self) -> list[str]:
        text = inspect.cleandoc(self.handler.__doc__ or "")
        return [" ".join(part.split()) for part in text.split("\n\n")]

    def route(self) -> web.RouteDef:
        """Return the route that aiohttp takes."""
        known = frozenset(p.name for p in self.parameters if p.where == "query")
        handler, checks = self.handler, not self.any_query

        @functools.wraps(handler)
        async def handle(request: web.Request) -> web.StreamResponse:
            if checks and not known.issuperset(request.query):
                raise _unknown(request, known)
            found: web.StreamResponse = await handler(request)
            return found

        if self.method == "POST":
            return web.post(self.path, handle)
        return web.get(self.path, handle, allow_head=not self.streams)


def routes_of(endpoints: Iterable[Endpoint]) -> list[web.RouteDef]:
    """Return the routes of all endpoints."""
    return [endpoint.route() for endpoint in endpoints]


def _unknown(request: web.Request, known: frozenset[str]) -> web.HTTPException:
    name = min(set(request.query) - known)
    close = nearest(name, known)
    taken = ", ".join(sorted(known)) or "none"
    fix = f"did you mean {close!r}?" if close else f"known: {taken}"
    return bad_request(f"{request.path} has no parameter {name[:40]!r}; {fix}")
