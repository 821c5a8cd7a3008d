"""Ask a running worker over HTTP; it answers for the tables as they are committed now."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import msgspec

from flows.errors import FlowsError
from flows.query.base import Missing, TableInfo
from flows.query.sql import Result
from flows.query.statement import QueryError

if TYPE_CHECKING:
    from flows.web.base import GroupStatus

# Workers are near; a proxy of the environment is for the far away.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_GRACE = 5.0
_REFUSED = (400, 408, 413, 422)
"""Answers that say that the question is wrong; others say that this worker cannot tell."""


class Unreachable(FlowsError):
    """No worker answers at an address."""


class RunningWorker:
    """A worker at an address such as http://127.0.0.1:6066; `token` is what it asks for, if anything."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address, self._token = address.rstrip("/"), token

    async def tables(self) -> list[TableInfo]:
        """Return the worker's tables. Raises `Unreachable`."""
        found = await self._ask("/api/tables", None, _GRACE)
        listed = found.get("tables", []) if isinstance(found, dict) else found
        return msgspec.convert(listed, list[TableInfo], strict=False)

    async def group(self) -> GroupStatus:
        """Return how all workers of its group are. Raises `Unreachable`."""
        from flows.web.base import GroupStatus

        return msgspec.convert(await self._ask("/api/workers", None, _GRACE), GroupStatus)

    async def query(self, sql: str, timeout: float) -> Result:
        """Run SQL at the worker; the result tells what it cut or could not read. Raises `QueryError`, `Unreachable`."""
        found = await self._ask("/api/query", {"sql": sql}, timeout + _GRACE)
        rows = [tuple(row) for row in found["rows"]]
        missing = msgspec.convert(found.get("missing", []), tuple[Missing, ...])
        return Result([_name(c) for c in found["columns"]], rows, bool(found.get("truncated")), missing)

    async def _ask(self, path: str, body: dict[str, Any] | None, timeout: float) -> Any:
        return await asyncio.to_thread(self._fetch, self.address + path, body, timeout)

    def _fetch(self, url: str, body: dict[str, Any] | None, timeout: float) -> Any:
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        if self._token is not None:  # not to be taken along to where an answer redirects
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with _opener.open(request, timeout=timeout) as answer:
                return msgspec.json.decode(answer.read())
        except urllib.error.HTTPError as error:
            if error.code not in _REFUSED:
                raise Unreachable(f"the worker at {self.address} answered {error.code} {error.reason}") from None
            raise QueryError(_said(error)) from None
        except (OSError, msgspec.DecodeError) as error:
            raise Unreachable(f"no worker answers at {self.address}: {error}", fix="look whether it runs") from None


def _name(column: Any) -> str:
    return str(column["name"] if isinstance(column, dict) else column)


def _said(error: urllib.error.HTTPError) -> str:
    """Return what the worker says was wrong."""
    try:
        found = msgspec.json.decode(error.read())
    except msgspec.DecodeError:
        return f"the worker answered {error.code} {error.reason}"
    return str(found["error"]) if isinstance(found, dict) and "error" in found else str(found)
