"""A schema registry by HTTP, as far as its clients need one: ids, versions, references, a simple rule of compatibility.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web


class RegistryServer:
    """A registry. `failing` is what it answers to the next requests, one after the other; `asked` are all requests.

    While `answers` is not set, it answers nothing.
    """

    def __init__(self, login: tuple[str, str] | None = None) -> None:
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.failing: list[int] = []
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.url = ""
        self._login = login

    def add(self, subject: str, schema: Any, **more: Any) -> int:
        """Register a schema as another program would, and return its id."""
        text = schema if isinstance(schema, str) else msgspec.json.encode(schema).decode()
        return self._register(subject, {"schema": text, **more})

    def schema(self, subject: str) -> Any:
        """Return the newest schema of a subject."""
        return msgspec.json.decode(self.schemas[self.subjects[subject][-1] - 1]["schema"])

    @asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[RegistryServer]:
        """Listen on a free port of this machine."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_post("/subjects/{subject}/versions", self._post_version)
        app.router.add_post("/subjects/{subject}", self._look_up)
        app.router.add_get("/subjects/{subject}/versions/{version}", self._get_version)
        app.router.add_get("/schemas/ids/{id}", self._get_schema)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
            await site.start()
            port = runner.addresses[0][1]
            self.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        await self.answers.wait()
        if self.failing:
            return _error(self.failing.pop(0), 50001, "out of order")
        if (
            self._login
            and request.headers.get("Authorization")
            != f"Basic {base64.b64encode(':'.join(self._login).encode()).decode()}"
        ):
            return _error(401, 40101, "Unauthorized")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _post_version(self, request: web.Request) -> web.Response:
        subject, body = request.match_info["subject"], await request.json()
        before = self.subjects.get(subject, [])
        if before and not _compatible(self.schemas[before[-1] - 1], body):
            return _error(409, 409, "Schema being registered is incompatible with an earlier schema")
        return web.json_response({"id": self._register(subject, body)})

    async def _look_up(self, request: web.Request) -> web.Response:
        subject, body = request.match_info["subject"], await request.json()
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        for version, id in enumerate(self.subjects[subject], 1):
            if self.schemas[id - 1] == body:
                return web.json_response({"subject": subject, "id": id, "version": version, **body})
        return _error(404, 40403, "Schema not found")

    async def _get_version(self, request: web.Request) -> web.Response:
        id = self.subjects[request.match_info["subject"]][int(request.match_info["version"]) - 1]
        return web.json_response({**request.match_info, "id": id, **self.schemas[id - 1]})

    async def _get_schema(self, request: web.Request) -> web.Response:
        id = int(request.match_info["id"])
        if not 0 < id <= len(self.schemas):
            return _error(404, 40403, f"Schema {id} not found")
        return web.json_response(self.schemas[id - 1])

    def _register(self, subject: str, body: dict[str, Any]) -> int:
        if body not in self.schemas:
            self.schemas.append(body)
        id = self.schemas.index(body) + 1
        versions = self.subjects.setdefault(subject, [])
        if id not in versions:
            versions.append(id)
        return id


def _compatible(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Tell whether each field that is new in an Avro record has a default: Confluent's BACKWARD, for that case."""
    if "schemaType" in new:
        return True
    schemas = [msgspec.json.decode(s["schema"]) for s in (old, new)]
    if not all(isinstance(s, dict) for s in schemas):
        return schemas[0] == schemas[1]
    before, after = ({f["name"]: f for f in s["fields"]} for s in schemas)
    return all("default" in field for name, field in after.items() if name not in before)


def _error(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"error_code": code, "message": message}, status=status)
