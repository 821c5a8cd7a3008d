"""The API's description: it is valid, it is all that there is, and its routes keep to it."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession, web
from openapi_spec_validator import OpenAPIV31SpecValidator

from flows.brokers.base import Broker
from flows.web.answers import answer
from flows.web.endpoint import Endpoint, Parameter
from tests.web.airport import Site
from tests.web.contract import DOCUMENT, Contract
from tests.web.gates import Gate, rides_app


async def test_it_is_served_and_valid(client: ClientSession) -> None:
    async with client.get("/api/openapi.json") as response:
        served = await response.json()
    OpenAPIV31SpecValidator(served).validate()
    assert served["info"]["title"] == "Flows"
    assert served["components"] != {}
    assert {path for path in DOCUMENT["paths"] if not path.startswith("/topics/")} == set(served["paths"])


async def test_a_worker_with_a_gateway_describes_that_too(site: Site, broker: Broker) -> None:
    async with Gate(broker, rides_app()) as gate:
        server = site.server(gateway=gate.gateway)
        async with ClientSession(await server.start()) as client, client.get("/api/openapi.json") as response:
            served = await response.json()
        await server.stop()
    OpenAPIV31SpecValidator(served).validate()
    assert served == DOCUMENT


async def test_each_route_is_described(site: Site) -> None:
    """The page, its files and an app's own pages are no API."""
    app = site.server()._application()
    routes = {
        (route.method, route.resource.canonical) for route in app.router.routes() if route.resource and route.method
    }
    described = {(m.upper(), path) for path, operations in DOCUMENT["paths"].items() for m in operations}
    described |= {("HEAD", path) for method, path in described if method == "GET"}
    assert {(m, p) for m, p in routes if p != "/" and not p.startswith("/static/")} <= described


def test_each_operation_has_a_name_of_its_own_and_says_what_it_does() -> None:
    operations = [o for path in DOCUMENT["paths"].values() for o in path.values()]
    names = [o["operationId"] for o in operations]
    assert sorted(set(names)) == sorted(names)
    assert all(o["summary"].endswith(".") for o in operations)
    assert all(p["description"] for o in operations for p in o["parameters"])


def test_health_asks_for_no_token_and_all_else_may() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            assert (operation["security"] == []) == path.startswith("/health/")


async def test_a_parameter_that_is_not_described_is_refused(client: ClientSession) -> None:
    async with client.get("/api/tables/late_streak?limt=5") as response:
        assert response.status == 400
        words = "/api/tables/late_streak has no parameter 'limt'; did you mean 'limit'?"
        assert await response.json() == {"error": words}
    async with client.get("/api/openapi.json?x=1") as response:
        assert (await response.json())["error"].endswith("has no parameter 'x'; known: none")


async def undocumented(request: web.Request) -> web.Response:
    return answer(1)


async def documented(request: web.Request) -> web.Response:
    """Do something."""
    return answer(1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"handler": undocumented}, "has no docstring"),
        ({"path": "/api/{name}"}, "the parameters of the path are not those"),
        ({"parameters": (Parameter(name="name", where="path", about="It."),)}, "are not those that are described"),
    ],
)
def test_a_route_without_a_description_cannot_be_made(more: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Endpoint(**{"method": "GET", "path": "/api/x", "handler": documented, "answer": int, **more})


@pytest.mark.parametrize(
    ("path", "status", "kind", "body"),
    [
        ("/api/nothing", 200, "application/json", b"{}"),
        ("/api/tables", 201, "application/json", b"[]"),
        ("/api/tables", 200, "text/plain", b"[]"),
        ("/api/tables", 200, "application/json", b"{}"),
        ("/api/tables", 200, "application/json", b'[{"name": "x"}]'),
        ("/health/live", 200, "application/json", b'{"live": true, "more": 1}'),
        ("/health/live", 500, "application/json", b'{"live": true}'),
    ],
)
def test_the_contract_sees_what_is_wrong(path: str, status: int, kind: str, body: bytes) -> None:
    """The tests of this folder would pass if it saw nothing."""
    with pytest.raises(AssertionError):
        Contract(DOCUMENT).check("GET", path, status, kind, body)


def test_what_is_no_json_is_told_by_its_content_types() -> None:
    stream = DOCUMENT["paths"]["/api/tables/{name}/changes"]["get"]["responses"]["200"]
    assert list(stream["content"]) == ["text/event-stream"]
    assert list(DOCUMENT["paths"]["/topics/{name}"]["get"]["responses"]) == ["101", "default"]
