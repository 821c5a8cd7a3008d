"""The door: which addresses may be bound, who may ask, and what a browser may do with the answers."""

from __future__ import annotations

import hmac
import ipaddress
import re

from aiohttp import web

from flows.errors import UsageError
from flows.web.answers import Handler, refusal

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")

_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def check_binding(host: str, token: str | None) -> None:
    """Refuse to serve strangers without a token; raises `UsageError`."""
    if token is not None and not token.strip():
        raise UsageError("the web token is empty", fix="give a long random one, or none at all on localhost")
    if token is None and not is_loopback(host):
        raise UsageError(
            f"the web page would be open to anyone who reaches {host or 'this machine'!r}",
            fix="bind to 127.0.0.1, or give a token: FLOWS_WEB_TOKEN, or --web-token-file PATH",
        )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Checks each request before any handler sees it: the Host name, the site it comes from, and the token."""

    def __init__(self, host: str, token: str | None) -> None:
        self._names = _LOCAL_NAMES | {host} if is_loopback(host) else None
        self._token = token.encode() if token is not None else None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the request through or answer it with 401 or 403."""
        if self._names is not None and _host_name(request.host) not in self._names:
            return refusal(403, f"this worker answers to localhost only, not to the host name {request.host!r}")
        if not _same_origin(request):
            return refusal(403, f"a page of another site ({request.headers.get('Origin', 'unnamed')}) may not ask here")
        if _needs_token(request.path) and not self._knows(request):
            challenge = {"WWW-Authenticate": 'Bearer realm="flows"'}
            return refusal(401, "send the worker's token as `Authorization: Bearer TOKEN`", challenge)
        return await handler(request)

    def _knows(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), self._token)
        return same and scheme.lower() == "bearer"


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Send the headers that confine a browser along with every response, errors included."""
    response.headers.update(_SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def _needs_token(path: str) -> bool:
    # The page's own files hold no data and must load before a person can type the token; probes carry none.
    return not (path == "/" or path.startswith(("/static/", "/health/")))


def _host_name(host: str) -> str:
    found = _HOST.fullmatch(host)
    return found["name"].strip("[]").lower() if found else ""


def _same_origin(request: web.Request) -> bool:
    """Tell whether the worker's own page asks, or no page at all, or a person who followed a link."""
    headers = request.headers
    origin = headers.get("Origin")
    if origin is not None and origin not in (f"http://{request.host}", f"https://{request.host}"):
        return False
    if headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
        return True
    link = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return link and request.method in ("GET", "HEAD") and "Upgrade" not in headers
