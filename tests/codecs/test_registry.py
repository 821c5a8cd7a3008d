"""The client of a schema registry, against a real one by HTTP."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flows.decode.base import RegisteredSchema
from flows.decode.registry import HttpRegistry
from flows.errors import FlowsError, RegistryUnavailable
from flows.secret import Secret
from tests.codecs.registry_server import RegistryServer

LONG, TEXT = RegisteredSchema('"long"'), RegisteredSchema('"string"')
AT_ONCE = (0.0, 0.0, 0.0)


@pytest.fixture
async def server() -> AsyncIterator[RegistryServer]:
    async with RegistryServer().serving() as served:
        yield served


@pytest.fixture
async def registry(server: RegistryServer) -> AsyncIterator[HttpRegistry]:
    client = HttpRegistry(server.url + "/", pauses=AT_ONCE)
    yield client
    await client.close()


async def test_schemas_have_one_id_for_ever(server: RegistryServer, registry: HttpRegistry) -> None:
    assert await registry.look_up("orders-value", LONG) is None
    assert await registry.register("orders-value", LONG) == 1
    assert await registry.register("orders-value", LONG) == 1
    assert await registry.register("a/b c", TEXT) == 2
    assert server.subjects == {"orders-value": [1], "a/b c": [2]}
    assert await registry.look_up("orders-value", LONG) == 1
    assert await registry.look_up("orders-value", TEXT) is None
    assert await registry.schema(1) == LONG
    assert await registry.schema(3) is None


async def test_references_are_registered_first_and_come_with_a_schema(registry: HttpRegistry) -> None:
    whole = RegisteredSchema("CCC", "PROTOBUF", (("a.proto", "AAA"), ("b.proto", "BBB")))
    id = await registry.register("orders-value", whole)
    assert id == 3
    assert await registry.schema(id) == whole
    assert await registry.look_up("orders-value", whole) == id


async def test_a_passing_fault_is_passed(server: RegistryServer, registry: HttpRegistry) -> None:
    server.failing = [500, 503, 429]
    assert await registry.register("orders-value", LONG) == 1
    assert len(server.asked) == 4


async def test_a_lasting_fault_is_told_in_the_end(server: RegistryServer, registry: HttpRegistry) -> None:
    server.failing = [500] * 10
    with pytest.raises(RegistryUnavailable, match="answers 500 to GET /schemas/ids/1"):
        await registry.schema(1)
    assert len(server.asked) == 4


async def test_nobody_there() -> None:
    async with RegistryServer().serving() as server:
        pass
    client = HttpRegistry(server.url, pauses=AT_ONCE)
    with pytest.raises(RegistryUnavailable, match=f"schema registry {server.url} cannot be reached: "):
        await client.schema(1)
    await client.close()


async def test_one_that_never_answers_is_not_waited_for_for_ever(server: RegistryServer) -> None:
    server.answers.clear()
    client = HttpRegistry(server.url, pauses=(), timeout=0.2)
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        await client.schema(1)
    assert server.asked == ["GET /schemas/ids/1"]
    server.answers.set()
    await client.close()


async def test_an_incompatible_schema_is_told(server: RegistryServer, registry: HttpRegistry) -> None:
    server.add("orders-value", {"type": "record", "name": "R", "fields": []})
    new = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'
    with pytest.raises(FlowsError, match="not compatible with an earlier one: /subjects/orders-value/versions: Schema"):
        await registry.register("orders-value", RegisteredSchema(new))


async def test_who_may_come_in() -> None:
    async with RegistryServer(login=("me", "open sesame")).serving() as server:
        for user, password in ((None, None), ("me", "guess")):
            client = HttpRegistry(server.url, user=user, password=password, pauses=AT_ONCE)
            with pytest.raises(FlowsError, match="lets nobody in like this") as error:
                await client.schema(1)
            assert "guess" not in str(error.value)
            await client.close()
        client = HttpRegistry(server.url, user="me", password=Secret("open sesame"), pauses=AT_ONCE)
        assert await client.register("s", LONG) == 1
        await client.close()


async def test_a_server_that_is_no_registry(server: RegistryServer) -> None:
    client = HttpRegistry(server.url + "/elsewhere", pauses=AT_ONCE)
    with pytest.raises(FlowsError, match="answers 404 to GET /schemas/ids/1: no JSON of a registry; see whether"):
        await client.schema(1)
    await client.close()


async def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    client = HttpRegistry("https://127.0.0.1:1", ca_file=tmp_path / "no.pem", pauses=())
    with pytest.raises(FlowsError, match=r"no\.pem cannot be read"):
        await client.schema(1)


async def test_a_closed_client_leaves_nothing_open(server: RegistryServer) -> None:
    client = HttpRegistry(server.url, pauses=AT_ONCE)
    await client.register("s", LONG)
    await client.close()
    del client
    gc.collect()  # an open session would warn here, which fails the test
