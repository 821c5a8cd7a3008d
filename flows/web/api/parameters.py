"""What a caller may put in a URL, checked: each wrong value is a 400 that says what would be right."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from flows.query.base import Missing, TableInfo, Tables
from flows.web.answers import bad_request, not_found
from flows.web.base import CONTEXT
from flows.web.endpoint import Parameter

NEWEST = "newest"
CLUSTER, LOCAL = "cluster", "local"
_LONGEST_KEY = 500

TABLE = Parameter(name="name", where="path", about="The table.")
SCOPE = Parameter(
    name="scope",
    about='"cluster" asks all workers (the default), "local" this one for its own part.',
    type=Literal["cluster", "local"],
)
PARTITIONS = Parameter(name="partitions", about="Numbers of partitions, with commas between.")
KEY = Parameter(name="key", about="A text that one of the key columns contains.")
WINDOW = Parameter(name="window", about='The start of a window in seconds since the epoch, or "newest".')
LIMIT = Parameter(name="limit", about="The most of them.", type=Annotated[int, msgspec.Meta(ge=1)])


class Selection(msgspec.Struct, frozen=True):
    """The rows a caller wants: `key` is text in a key column, `window` a start in seconds."""

    key: str | None
    window: float | None
    newest: bool


def table_of(request: web.Request) -> TableInfo:
    """Find the table named in the path; raises 404 with the names there are."""
    name = request.match_info["name"]
    known = request.app[CONTEXT].tables.list()
    for info in known:
        if info.name == name:
            return info
    names = ", ".join(info.name for info in known[:20]) or "none yet"
    raise not_found(f"there is no table {name!r}; tables: {names}")


def scope_of(request: web.Request) -> str:
    """Read `?scope=`: "cluster", all workers' parts (the default), or "local", what this worker holds."""
    scope = request.query.get("scope") or CLUSTER
    if scope not in (CLUSTER, LOCAL):
        raise bad_request(f"scope is {scope[:40]!r}; expected {CLUSTER!r} or {LOCAL!r}")
    return scope


def tables_of(request: web.Request) -> Tables:
    """Return the tables of the scope that is asked for."""
    context = request.app[CONTEXT]
    return context.local if scope_of(request) == LOCAL else context.tables


def partitions_of(request: web.Request, info: TableInfo) -> tuple[int, ...]:
    """Read `?partitions=`, numbers with commas between."""
    texts = request.query.get("partitions", "").split(",")
    if not all(text.isascii() and text.isdigit() and len(text) < 7 for text in texts):
        raise bad_request(f"partitions of {info.name!r}: expected whole numbers with commas between, such as 0,3")
    return tuple(map(int, texts))


def selection_of(request: web.Request, info: TableInfo, *, keyed: bool = True) -> Selection:
    """Read `?key=` (where it is text to be contained) and `?window=` (a start in seconds, or "newest")."""
    key = (request.query.get("key") or None) if keyed else None
    if key is not None and len(key) > _LONGEST_KEY:
        raise bad_request(f"key is {len(key)} characters long; at most {_LONGEST_KEY} are searched for")
    window = request.query.get("window") or None
    if window is not None and info.window is None:
        raise bad_request(f"table {info.name!r} has no windows; leave out window")
    if window is None or window == NEWEST:
        return Selection(key, None, window == NEWEST)
    return Selection(key, _seconds(window), False)


async def body_of(request: web.Request, type: Any, expected: str) -> Any:
    """Read a JSON body as this type; `expected` shows what would be right."""
    # A form of another site can post text, but never this content type without asking first.
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text=f"send {expected} with Content-Type: application/json")
    try:
        async with asyncio.timeout(request.app[CONTEXT].limits.body_seconds):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not come in time") from None
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"expected {expected}: {error}") from error


async def window_of(
    selection: Selection, tables: Tables, info: TableInfo, missing: list[Missing] | None = None
) -> float | None:
    """Return the window that is meant, which for "newest" is looked up; None is all of them, or none there yet."""
    if not selection.newest:
        return selection.window
    starts = await tables.windows(info.name, limit=1, missing=missing)
    return starts[0] if starts else None


def limit_of(request: web.Request, default: int, most: int) -> int:
    """Read `?limit=`, a whole number from 1 to `most`."""
    text = request.query.get("limit")
    if text is None or text == "":
        return min(default, most)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise bad_request(f"limit is {text[:40]!r}; expected a whole number from 1 to {most}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        start = float(text)
    except ValueError:
        start = math.nan
    if not math.isfinite(start):
        raise bad_request(f"window is {text[:40]!r}; expected its start in seconds since the epoch, or {NEWEST!r}")
    return start
