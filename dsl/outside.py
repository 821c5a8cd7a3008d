"""What an app offers to those outside of its streams: pages on a worker's web server, and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from dsl.background import Background
from dsl.checks import check_one_of
from dsl.errors import DeclarationError
from dsl.tables_used import check_coroutine

Function = TypeVar("Function", bound=Callable[..., Any])

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_TAKEN = ("/api", "/metrics", "/health", "/static", "/topics")
_COMMAND = re.compile(r"[a-z][a-z0-9-]*")


class Page(msgspec.Struct, frozen=True):
    """A page of the app: its path, the methods that it answers, and the coroutine that does."""

    path: str
    methods: tuple[str, ...]
    function: Callable[..., Any]


class Outside(Background):
    """The part of an app that people and other programs call."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self._pages: list[Page] = []
        self._commands: dict[str, Callable[..., Any]] = {}

    def page(self, path: str, *, methods: Iterable[str] = ("GET",)) -> Callable[[Function], Function]:
        """Answer requests at a path of every worker's web server by a coroutine of one argument, aiohttp's request.

        `path` may have parts in braces, `"/users/{id}"`, which are in `request.match_info`. What it returns is sent as
        JSON, a `str` as plain text, and a response of aiohttp as it is. It may send to topics and ask agents. Whoever
        may ask the worker's API may ask a page, with the same token.

        >>> @app.page("/hello/{name}")
        ... async def hello(request):
        ...     return {"hello": request.match_info["name"]}
        """
        known = tuple(methods)
        for method in known:
            check_one_of(f"page {path!r}: methods", method, _METHODS)
        if not path.startswith("/") or path == "/" or any(path == t or path.startswith(f"{t}/") for t in _TAKEN):
            raise DeclarationError(
                f'a page cannot be at {path!r}: write a path such as "/totals", not below {", ".join(_TAKEN)}.'
            )
        if any(page.path == path and {*page.methods} & {*known} for page in self._pages):
            raise DeclarationError(f"there are two pages at {path!r}.")

        def declare(function: Function) -> Function:
            check_coroutine(function, "a page", "return {…}")
            self._pages.append(Page(path, known, function))
            return function

        return declare

    def command(self, name: str | None = None) -> Callable[[Function], Function]:
        """Add a command to the command line: `flows -A module NAME`.

        Its options are click's, `@click.option(…)` below this line. A coroutine may send to topics and ask agents that
        workers run. Without `name` it is the function's, with dashes.

        >>> @app.command()
        ... async def send_one():
        ...     await departures.send(Departure("UA", "JFK"))
        """

        def declare(function: Function) -> Function:
            found = name or getattr(function, "__name__", "").replace("_", "-").lower()
            if not _COMMAND.fullmatch(found):
                raise DeclarationError(f"command name {found!r}: use small letters, digits and dashes.")
            if found in self._commands:
                raise DeclarationError(f"there are two commands {found!r}.")
            self._commands[found] = function
            return function

        return declare

    def _called(self) -> Iterator[Callable[..., Any]]:
        """Yield all functions of the person that the app calls."""
        hooks = self.on_start, self.on_ready, self.on_rebalance, self.on_stop
        yield from (*self._functions.values(), *(page.function for page in self._pages), *self._commands.values())
        yield from (function for hook in hooks for function in hook)
