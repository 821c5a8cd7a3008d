"""Listening for requests: what all servers of Flows have in common."""

from __future__ import annotations

import errno
import logging
import os
import socket
from ipaddress import ip_address

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from flows.errors import FlowsError

_GOODBYE = 0.5
"""Seconds that handlers get to end by themselves when a server stops."""
_LINGERING = 2.0
"""Seconds in which the rest of a refused body is still read, so that its client gets to read the answer."""

_http = logging.getLogger("flows.web.http")


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell whether a line is about an error of ours: that strangers send no HTTP is none, and would fill the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_http.addFilter(_is_ours)


class Listener:
    """An application at an address. `option` is what the command line calls the port.

    A connection on which no request has come whole `idle_seconds` after it was made, or after its last answer, is
    closed: nobody holds one by sending a head a byte at a time. Bodies are not unpacked: who takes packed ones does it
    within bounds. `shared` lets several processes listen at one port, among which the system spreads connections.
    """

    def __init__(
        self, host: str, port: int, *, option: str, idle_seconds: float, advertised: str | None, shared: bool = False
    ) -> None:
        # `localhost` may name two addresses, which would get two different free ports.
        self.host = "127.0.0.1" if host == "localhost" else host
        self._port, self._option, self._idle, self._shared = port, option, idle_seconds, shared
        self._advertised = advertised
        self._runner: web.AppRunner | None = None

    async def start(self, app: web.Application) -> str:
        """Listen and return the address, as `http://127.0.0.1:6066`; raises `FlowsError` where that cannot be.

        It names `advertised`, where given, else the host it listens on; this machine's name where that is any.
        """
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_GOODBYE,
            keepalive_timeout=self._idle,
            auto_decompress=False,
            lingering_time=_LINGERING,
            logger=_http,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self._port, backlog=4096, reuse_port=self._shared or None).start()
        except OSError as error:
            await runner.cleanup()
            raise self._unusable(error) from error
        self._runner = runner
        bound, port = runner.addresses[0][:2]
        # "All addresses" is no address to go to, least of all from another machine.
        host = self._advertised or (socket.gethostname() if ip_address(bound).is_unspecified else bound)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def started(self) -> bool:
        """Whether it listens."""
        return self._runner is not None

    async def stop(self) -> None:
        """End every request, and stop listening. Does nothing when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _unusable(self, error: OSError) -> FlowsError:
        if error.errno == errno.EADDRINUSE:
            why, fix = "is taken", f"choose another with {self._option} (0 picks a free one)"
        elif error.errno == errno.EACCES:
            why, fix = "needs more rights than this user has", f"choose one from 1024 on with {self._option}"
        else:
            why = f"cannot be used: {os.strerror(error.errno) if error.errno else error}"
            fix = f"check the address, or choose another port with {self._option}"
        return FlowsError(f"port {self._port} of {self.host} {why}", fix=fix)
