"""The OpenAPI 3.1 description of the API, made of the same endpoints as its routes; types become JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from flows.web.endpoint import Endpoint, Media, Parameter, Problem

_ABOUT = """Everything that the live page shows, and more, as JSON. Any worker answers for all of its group.

Times are seconds since the epoch, durations seconds. Bytes that are no UTF-8 are base64, NaN and infinities are null,
whole numbers beyond 64 bits are text. Only committed rows and records are told."""

_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "The worker's token, where it has one: a worker that only its own machine reaches may have none.",
}
_WORDS = {
    200: "The answer.",
    202: "Taken.",
    206: "A part of the answer.",
    503: "Not now; `Retry-After` says when.",
}

Json = dict[str, Any]


def document(endpoints: Sequence[Endpoint]) -> Json:
    """Return the description of endpoints as an OpenAPI 3.1 document."""
    schemas, components = _schemas(endpoints)
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Flows", "version": version("flows"), "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": _TOKEN}},
    }


class _Schemas:
    """The JSON Schema of each type that the endpoints name."""

    def __init__(self, types: Sequence[Any], schemas: Sequence[Json]) -> None:
        self._found = list(zip(types, schemas, strict=True))

    def of(self, type_: Any) -> Json:
        """Return a type's schema; types are compared, since not all of them can be hashed."""
        return next(schema for known, schema in self._found if known == type_)


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[_Schemas, Json]:
    types = [Problem, *(t for e in endpoints for t in _types(e) if not isinstance(t, Media))]
    found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas, components = msgspec.json.decode(msgspec.json.encode(found))  # defaults may be tuples and structs
    for schema in components.values():
        if "description" in schema:
            schema["description"] = _unwrapped(schema["description"])
    return _Schemas(types, schemas), components


def _types(endpoint: Endpoint) -> Iterator[Any]:
    yield endpoint.answer
    yield from endpoint.others.values()
    yield from (p.type for p in endpoint.parameters)
    if endpoint.body is not None:
        yield endpoint.body


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Json:
    # An answer without a content type is none: the connection goes on as another protocol.
    upgrades = isinstance(endpoint.answer, Media) and not endpoint.answer.types
    answers = {101 if upgrades else 200: endpoint.answer, **endpoint.others}
    found: Json = {
        "operationId": endpoint.handler.__name__,
        "tags": [endpoint.path.split("/")[2 if endpoint.path.startswith("/api/") else 1]],
        "summary": endpoint.summary,
        "description": endpoint.about,
        "parameters": [_parameter(p, schemas) for p in endpoint.parameters],
        "responses": {
            **{str(status): _response(status, answer, schemas) for status, answer in sorted(answers.items())},
            "default": _response(0, Problem, schemas),
        },
        "security": [{"token": []}, {}] if endpoint.secret else [],
    }
    if endpoint.body is not None:
        found["requestBody"] = {"required": True, "content": _content(endpoint.body, schemas)}
    return found


def _parameter(parameter: Parameter, schemas: _Schemas) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.about,
        "schema": schemas.of(parameter.type),
    }


def _response(status: int, answer: Any, schemas: _Schemas) -> Json:
    words = answer.about if isinstance(answer, Media) else _WORDS.get(status, "Why there is no answer.")
    content = _content(answer, schemas)
    return {"description": words, **({"content": content} if content else {})}


def _content(answer: Any, schemas: _Schemas) -> Mapping[str, Json]:
    if isinstance(answer, Media):
        return {type_: {"schema": {"type": "string"}} for type_ in answer.types}
    return {"application/json": {"schema": schemas.of(answer)}}


def _unwrapped(text: str) -> str:
    """Return a docstring's paragraphs, each in one line."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
