"""Schema registries: Confluent's by HTTP, and one in memory for the test driver.

https://docs.confluent.io/platform/current/schema-registry/develop/api.html
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from flows.decode.base import RegisteredSchema
from flows.errors import FlowsError, RegistryUnavailable

_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before each new attempt."""

_TIMEOUT = 10.0
"""Seconds that an answer may take."""

_TYPE = "application/vnd.schemaregistry.v1+json"
_NO_SUBJECT, _NO_SCHEMA = 40401, 40403


class HttpRegistry:
    """A client of a registry; what fails on the way is tried again for some seconds."""

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        pauses: Sequence[float] = _PAUSES,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._url, self._pauses = url.rstrip("/"), pauses
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        login = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
        self._headers = {"Accept": f"{_TYPE}, application/json", "Content-Type": _TYPE}
        self._headers |= {} if user is None else {"Authorization": f"Basic {login}"}
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def schema(self, id: int) -> RegisteredSchema | None:
        """Return a schema by its id, with those it refers to; None where there is none."""
        return await self._whole(await self._call("GET", f"/schemas/ids/{id}", missing=(_NO_SCHEMA,)))

    async def register(self, subject: str, schema: RegisteredSchema) -> int:
        """Register a schema under a subject, and before it those it refers to under their names."""
        answer = await self._call("POST", f"/subjects/{_quoted(subject)}/versions", await self._body(schema))
        return _int(answer, "id")

    async def look_up(self, subject: str, schema: RegisteredSchema) -> int | None:
        """Return the id of a schema under a subject; None where it is not registered."""
        body = await self._body(schema, register=False)
        answer = await self._call("POST", f"/subjects/{_quoted(subject)}", body, missing=(_NO_SUBJECT, _NO_SCHEMA))
        return None if answer is None else _int(answer, "id")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _body(self, schema: RegisteredSchema, register: bool = True) -> dict[str, Any]:
        body: dict[str, Any] = {"schema": schema.definition}
        if schema.kind != "AVRO":
            body["schemaType"] = schema.kind
        references = []
        for place, (name, text) in enumerate(schema.references):
            needed = RegisteredSchema(text, schema.kind, schema.references[:place])
            if register:
                await self.register(name, needed)
            found = await self._call("POST", f"/subjects/{_quoted(name)}", await self._body(needed, register=False))
            references.append({"name": name, "subject": name, "version": _int(found, "version")})
        return {**body, "references": references} if references else body

    async def _whole(self, answer: Any) -> RegisteredSchema | None:
        if answer is None:
            return None
        references: dict[str, str] = {}
        for one in answer.get("references") or ():
            path = f"/subjects/{_quoted(one['subject'])}/versions/{one['version']}"
            needed = await self._whole(await self._call("GET", path))
            assert needed is not None
            references |= dict(needed.references) | {one["name"]: needed.definition}
        return RegisteredSchema(answer["schema"], answer.get("schemaType") or "AVRO", tuple(references.items()))

    async def _call(self, method: str, path: str, body: Any = None, missing: tuple[int, ...] = ()) -> Any:
        """Call the registry; None for an error code of `missing`. Raises `RegistryUnavailable`, `FlowsError`."""
        for pause in (*self._pauses, None):
            try:
                return await self._once(method, path, body, missing)
            except RegistryUnavailable:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, body: Any, missing: tuple[int, ...]) -> Any:
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._opened().request(
                method, self._url + path, data=data, headers=self._headers, allow_redirects=False
            ) as response:
                status, text = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
                raise FlowsError(
                    f"schema registry {self._url}: {error}", fix="see schema_registry_url, _ca_file"
                ) from None
            why = str(error) or type(error).__name__
            raise RegistryUnavailable(f"schema registry {self._url} cannot be reached: {why}") from error
        if status >= 500 or status in (408, 429):
            raise RegistryUnavailable(f"schema registry {self._url} answers {status} to {method} {path}")
        told = _json(text)
        if status == 200 and isinstance(told, dict):
            return told
        code = told.get("error_code") if isinstance(told, dict) else None
        if code in missing:
            return None
        raise self._refusal(status, method, path, told)

    def _refusal(self, status: int, method: str, path: str, told: Any) -> FlowsError:
        message = told.get("message") if isinstance(told, dict) else None
        if status in (401, 403):
            return FlowsError(
                f"schema registry {self._url} lets nobody in like this ({status})",
                fix="set schema_registry_user and FLOWS_SCHEMA_REGISTRY_PASSWORD",
            )
        if status == 409:
            return FlowsError(
                f"schema registry {self._url}: the schema is not compatible with an earlier one: {path}: {message}",
                fix="give a new field a default, or change the subject's compatibility",
            )
        return FlowsError(
            f"schema registry {self._url} answers {status} to {method} {path}: {message or 'no JSON of a registry'}",
            fix="see whether schema_registry_url is that of a schema registry",
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self._ca_file is not None:
                try:
                    context = ssl.create_default_context(cafile=self._ca_file)
                except OSError as error:
                    raise FlowsError(
                        f"schema_registry_ca_file {self._ca_file} cannot be read: {error}",
                        fix="name a file in PEM form",
                    ) from None
            connector = aiohttp.TCPConnector(ssl=context, limit=8)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session


class MemoryRegistry:
    """A registry for tests, which takes any schema: what is compatible, a real one decides."""

    def __init__(self) -> None:
        self._schemas: list[RegisteredSchema] = []
        self._subjects: dict[str, list[int]] = {}

    def add(self, subject: str, schema: Any) -> int:
        """Register a schema and return its id: an Avro schema as JSON text, dict or list, or a `RegisteredSchema`."""
        if not isinstance(schema, RegisteredSchema):
            schema = RegisteredSchema(schema if isinstance(schema, str) else msgspec.json.encode(schema).decode())
        if schema not in self._schemas:
            self._schemas.append(schema)
        id = self._schemas.index(schema) + 1
        versions = self._subjects.setdefault(subject, [])
        if id not in versions:
            versions.append(id)
        return id

    async def schema(self, id: int) -> RegisteredSchema | None:
        """Return a schema by its id; None where there is none."""
        return self._schemas[id - 1] if 0 < id <= len(self._schemas) else None

    async def register(self, subject: str, schema: RegisteredSchema) -> int:
        """Register a schema under a subject."""
        return self.add(subject, schema)

    async def look_up(self, subject: str, schema: RegisteredSchema) -> int | None:
        """Return the id of a schema under a subject; None where it is not registered."""
        id = self._schemas.index(schema) + 1 if schema in self._schemas else 0
        return id if id in self._subjects.get(subject, ()) else None

    async def close(self) -> None:
        """Do nothing: there is nothing open."""


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _int(answer: Any, name: str) -> int:
    found = answer.get(name)
    if not isinstance(found, int):
        raise FlowsError(f"the schema registry answers without {name!r}: {answer}", fix="see schema_registry_url")
    return found
