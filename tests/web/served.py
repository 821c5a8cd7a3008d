"""A site served from a thread of its own, as the browser needs it: the test itself blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from flows.web import WebServer
from tests.web.airport import Site

Result = TypeVar("Result")


class Served:
    """Runs a site's server; `do` calls something in the server's event loop, where commits belong."""

    def __init__(self, site: Site, **options: Any) -> None:
        self.site = site
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="served")
        self._thread.start()
        self._server: WebServer | None = None
        self.address = ""
        self.start()

    def start(self, **options: Any) -> None:
        """Listen, at the same port as before where there was one."""
        if self.address:
            options["port"] = int(self.address.rpartition(":")[2])
        self._server = self.site.server(**{**self._options, **options})
        self.address = self.wait(self._server.start())

    def stop(self) -> None:
        """Stop listening; `start` goes on at the same port."""
        assert self._server is not None
        self.wait(self._server.stop())

    def do(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in the event loop and return what it returns."""

        async def inside() -> Result:
            return call(*arguments)

        result: Result = self.wait(inside())
        return result

    def become(self, **changes: Any) -> None:
        """Change the worker's status."""
        self.site.state = msgspec.structs.replace(self.site.state, **changes)

    def put(self, table: str, *rows: dict[str, Any]) -> None:
        """Commit rows."""
        self.do(self.site.tables.put, table, *rows)

    def wait(self, work: Any) -> Any:
        """Run a coroutine in the event loop to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=20)

    def close(self) -> None:
        """Stop the server, its loop and its thread."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
