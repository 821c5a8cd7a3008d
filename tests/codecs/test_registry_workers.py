"""Workers and commands with a registry by HTTP: what is registered at the start, and what an outage does."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import flows
from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.embedded import EmbeddedBroker
from flows.cli import main
from flows.errors import FlowsError
from flows.run.worker import Worker
from flows.settings import load_settings
from tests.codecs.registry_server import RegistryServer

DEADLINE = 30.0


class Order(flows.Record):
    id: str
    amount: float


WRITER = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "string"}, {"name": "amount", "type": "int"}],
}


def shop() -> flows.App:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order, key="id", codec="avro")
    large = app.topic("large", value=Order, key="id", codec="avro")
    orders.filter(flows.col("amount") > 10).to(large)
    orders.group_by("id").agg(n=flows.count()).table("per_id")
    return app


@pytest.fixture
async def server() -> AsyncIterator[RegistryServer]:
    async with RegistryServer().serving() as served:
        yield served


def worker(app: flows.App, folder: Path, url: str | None, **more: Any) -> Worker:
    options = {"data": str(folder), "web_port": "-1", "schema_registry_url": url, **more}
    return Worker(app, load_settings(app.id, options, environ={}))


async def until(holds: Callable[[], Any], *running: asyncio.Task[Any]) -> None:
    """Wait for a condition, or for a task that should be running to raise."""
    async with asyncio.timeout(DEADLINE):
        while not holds():
            for task in running:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)


async def produced(folder: Path, *values: bytes) -> None:
    broker = EmbeddedBroker(folder / "broker")
    await broker.start()
    try:
        out = Outgoing()
        for value in values:
            out.append(b"a", value, 0)
        await broker.produce({TopicPartition("orders", 0): out})
    finally:
        await broker.close()


def written(id: int, amount: int) -> bytes:
    return id.to_bytes(5, "big") + b"\x02a" + bytes([2 * amount])


@pytest.mark.parametrize(
    ("register", "subjects"),
    [("written", {"large-value"}), ("all", {"large-value", "orders-value"})],
)
async def test_what_is_registered_at_the_start(
    tmp_path: Path, server: RegistryServer, register: str, subjects: set[str]
) -> None:
    await asyncio.wait_for(
        worker(shop(), tmp_path, server.url, drain=True, schema_registry_register=register).run(), DEADLINE
    )
    assert set(server.subjects) == subjects
    assert server.schema("large-value") == {
        "type": "record",
        "name": "Order",
        "fields": [{"name": "id", "type": "string"}, {"name": "amount", "type": "double"}],
    }


async def test_never_registering_takes_what_is_there(tmp_path: Path, server: RegistryServer) -> None:
    never: dict[str, Any] = {"drain": True, "schema_registry_register": "never"}
    with pytest.raises(FlowsError, match="topic 'large': its schema is not registered under 'large-value'"):
        await worker(shop(), tmp_path, server.url, **never).run()
    assert server.subjects == {}
    await asyncio.wait_for(worker(shop(), tmp_path, server.url, drain=True).run(), DEADLINE)
    server.asked.clear()
    await asyncio.wait_for(worker(shop(), tmp_path, server.url, **never).run(), DEADLINE)
    assert sorted(server.asked) == ["POST /subjects/large-value", "POST /subjects/orders-value"]


async def test_an_incompatible_schema_keeps_the_worker_from_starting(tmp_path: Path, server: RegistryServer) -> None:
    server.add("large-value", {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]})
    with pytest.raises(FlowsError, match="the schema is not compatible with an earlier one: /subjects/large-value"):
        await worker(shop(), tmp_path, server.url, drain=True).run()


async def test_without_a_registry_the_worker_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(FlowsError, match="set schema_registry_url"):
        await worker(shop(), tmp_path, None, drain=True).run()


async def test_an_outage_loses_nothing_and_holds_nothing_up_for_ever(tmp_path: Path, server: RegistryServer) -> None:
    """Records of a new schema come while the registry is out of order; they are processed once it is back."""
    running = worker(shop(), tmp_path, server.url)
    task = asyncio.create_task(running.run())
    await until(lambda: running.ready, task)
    id = server.add("orders-value", WRITER)
    server.failing = [503] * 1_000_000
    await produced(tmp_path, written(id, 20), written(id, 5), written(id, 30))
    await until(lambda: any("answers 503" in told for told in running.metrics.errors), task)
    assert running.metrics.records == 0
    server.failing = []
    await until(lambda: running.metrics.records == 3, task)
    running.stop()
    await asyncio.wait_for(task, DEADLINE)
    assert server.asked.count(f"GET /schemas/ids/{id}") >= 4
    broker = EmbeddedBroker(tmp_path / "broker")
    await broker.start()
    try:
        assert (await broker.end_offsets([TopicPartition("large", 0)]))[TopicPartition("large", 0)] == 2
        assert (await broker.end_offsets([TopicPartition("shop-dead-letters", 0)])).popitem()[1] == 0
    finally:
        await broker.close()


async def test_an_id_is_asked_for_once(tmp_path: Path, server: RegistryServer) -> None:
    await asyncio.wait_for(worker(shop(), tmp_path, server.url, drain=True).run(), DEADLINE)
    id = server.add("orders-value", WRITER)
    for _ in range(3):
        await produced(tmp_path, *[written(id, 20)] * 50)
    await asyncio.wait_for(worker(shop(), tmp_path, server.url, drain=True).run(), DEADLINE)
    assert server.asked.count(f"GET /schemas/ids/{id}") == 1


MODULE = """\
import flows


class Order(flows.Record):
    id: str
    amount: float


app = flows.App("shop")
orders = app.topic("orders", value=Order, key="id", codec="avro")
orders.group_by("id").agg(n=flows.count()).table("per_id")
"""


OWN = """\
import zlib

import msgspec

import flows

zipped = flows.Codec(lambda v: zlib.compress(msgspec.json.encode(v)), lambda d: msgspec.json.decode(zlib.decompress(d)),
                     name="zipped")
app = flows.App("shop")
orders = app.topic("orders", codec=zipped)
"""


def test_the_commands_know_the_codecs_of_an_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zipped_shop.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for args in (["send", "orders", '{"id": "a"}'], ["tail", "orders", "--from-beginning", "--no-follow", "--json"]):
        done = CliRunner().invoke(main, ["-A", "zipped_shop", *args], prog_name="flows")
        assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["value"] == {"id": "a"}


async def test_the_commands_send_and_show(
    tmp_path: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FLOWS_SCHEMA_REGISTRY_URL", server.url)

    async def run(*args: str) -> Any:
        done = await asyncio.to_thread(CliRunner().invoke, main, args, prog_name="flows")
        sys.modules.pop("shop", None)
        return done

    sent = await run("-A", "shop", "send", "orders", '{"id": "a", "amount": 5}')
    assert sent.exit_code == 0, sent.output
    assert set(server.subjects) == {"orders-value"}
    shown = await run("-A", "shop", "tail", "orders", "--from-beginning", "--no-follow", "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["value"] == {"id": "a", "amount": 5.0}
    refused = await run("-A", "shop", "send", "orders", '{"id": "a"}')
    assert refused.exit_code == 1
    assert "missing required field `amount`" in refused.stderr
    broker = EmbeddedBroker(tmp_path / ".flows" / "shop" / "broker")
    await broker.start()
    try:
        reader = broker.reader({TopicPartition("orders", 0): 0})
        (records,) = await reader.fetch(10, 1.0)
        await reader.close()
    finally:
        await broker.close()
    assert records.values == [b"\0\0\0\0\x01\x02a" + struct.pack("<d", 5.0)]
