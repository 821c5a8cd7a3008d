"""The API's description as a contract: each answer that a test gets of a server is held against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from flows.web import api
from flows.web.gateway import GatewayServer, endpoints
from flows.web.openapi import document
from flows.web.server import WebServer

DOCUMENT = document([*api.endpoints(), *endpoints()])


class Contract:
    """Holds answers against a description; what is not told of in it is wrong too."""

    def __init__(self, described: dict[str, Any]) -> None:
        # Types of answers may grow; in the tests, what is answered and what is described are the same.
        components = {
            name: {**schema, "unevaluatedProperties": False} if "properties" in schema else schema
            for name, schema in described["components"]["schemas"].items()
        }
        self._components = {"components": {"schemas": components}}
        self._paths = [(_pattern(path), operations) for path, operations in described["paths"].items()]

    def check(self, method: str, path: str, status: int, content_type: str, body: bytes | None) -> None:
        """Raise `AssertionError` where an answer is other than described; paths of no API may answer anything."""
        found = next((o for pattern, o in self._paths if pattern.fullmatch(path)), None)
        operation = (found or {}).get(method.lower().replace("head", "get"))
        if operation is None:
            assert not path.startswith("/api/") or status >= 400, f"{method} {path} is not described"
            return
        responses = operation["responses"]
        response = responses.get(str(status)) or responses["default"]
        assert str(status) in responses or status >= 400, f"{method} {path} answers {status}, which is not described"
        media = response.get("content", {})
        assert content_type in media or status == 101, f"{method} {path} answers {content_type}, not {sorted(media)}"
        if content_type == "application/json" and body:
            schema = {**media[content_type]["schema"], **self._components}
            errors = [e.message for e in Draft202012Validator(schema).iter_errors(msgspec.json.decode(body))]
            assert errors == [], f"{method} {path}"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


CONTRACT = Contract(DOCUMENT)


@pytest.fixture(autouse=True)
def every_answer_conforms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every answer of the servers that a test starts in its own process against the description."""
    wrong: list[str] = []

    async def look(request: web.Request, response: web.StreamResponse) -> None:
        body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else None
        try:
            CONTRACT.check(request.method, request.rel_url.raw_path, response.status, response.content_type, body)
        except AssertionError as error:
            wrong.append(str(error))

    for server in (WebServer, GatewayServer):
        make = server._application

        def watched(self: Any, make: Any = make) -> web.Application:
            app: web.Application = make(self)
            app.on_response_prepare.append(look)
            return app

        monkeypatch.setattr(server, "_application", watched)
    yield
    assert wrong == []
