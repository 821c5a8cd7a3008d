"""Answers as JSON: every handler's result and every error leave through here.

NaN and infinities become null, bytes become their text where they are UTF-8 and base64 where not, times are ISO,
and whole numbers beyond 64 bits become text.
"""

from __future__ import annotations

import base64
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from flows.errors import BrokerUnavailable, FlowsError

logger = logging.getLogger("flows.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_AS_THEY_ARE = frozenset({float, bool, type(None), dt.datetime, dt.date, dt.time})


def _foreign(value: Any) -> Any:
    """Stand in for a type that JSON does not know: numpy scalars by their Python value, the rest as text."""
    return value.item() if hasattr(value, "item") else str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_foreign)


def to_json(value: Any) -> bytes:
    """Encode rows, structs and containers of them; see the module for what becomes of special values."""
    return _ENCODER.encode(_plain(value))


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with a value as JSON."""
    return web.Response(body=to_json(value), status=status, content_type="application/json", headers=headers)


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with an error as `{"error": message}`."""
    return answer({"error": message}, status=status, headers=headers)


def not_found(message: str) -> web.HTTPException:
    """Make the exception that answers 404 with this message."""
    return web.HTTPNotFound(text=message)


def bad_request(message: str) -> web.HTTPException:
    """Make the exception that answers 400 with this message."""
    return web.HTTPBadRequest(text=message)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into a JSON error: its own words for a known one, none of its insides for others."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        answered = refusal(error.status, _words(error, request), kept)
        if not request.content.at_eof():
            answered.force_close()  # the rest of its body is not waited for
        return answered
    except BrokerUnavailable as error:
        return refusal(503, str(error), {"Retry-After": "1"})
    except FlowsError as error:
        return refusal(400, str(error))
    except ConnectionResetError:
        raise
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return refusal(500, "the worker could not answer; its log says why")


def _words(error: web.HTTPException, request: web.Request) -> str:
    if error.text and error.text != f"{error.status}: {error.reason}":
        return error.text
    if error.status == 404:
        return f"there is nothing at {request.path}"
    return error.reason


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        # A lone surrogate has no place in UTF-8.
        return value if value.isascii() else value.encode(errors="replace").decode()
    if kind in _AS_THEY_ARE:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else str(value)
    if kind is dict:
        return {_plain_key(name): _plain(item) for name, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if kind is bytes:
        return _bytes(value)
    return _plain(msgspec.structs.asdict(value)) if isinstance(value, msgspec.Struct) else value


def _plain_key(name: Any) -> Any:
    return name if type(name) is str else str(_plain(name))


def _bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
