"""Traces: one from the sender through the gateway, topics, tasks and agents to the outputs, where it is asked for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import flows
from flows import tracing
from flows.brokers.base import Headers, Records, TopicPartition
from flows.errors import UsageError
from flows.run.traces import TaskTraces
from flows.run.worker import Worker
from flows.settings import Settings
from flows.tracing import Tracer, open_tracer
from tests.web.gates import read_topic, until

TRACE, SENDER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SENDER}-01"
OUTPUTS = ("kept", "yielded", "sent", "shop-per_city-repartition")


class Order(flows.Record):
    city: str
    n: int


def shop() -> flows.App:
    app = flows.App("shop")
    orders = app.topic("orders", value=Order)
    kept, yielded, sent = (app.topic(name, value=dict) for name in OUTPUTS[:3])
    orders.filter(flows.col("n") > 0).to(kept)
    orders.group_by("city").agg(n=flows.count()).table("per_city")

    @app.agent(orders, sink=[yielded])
    async def watch(stream: AsyncIterator[Order]) -> AsyncIterator[dict[str, Any]]:
        async for order in stream:
            await sent.send({"n": order.n})
            yield {"n": order.n}

    return app


class Traced:
    """A running worker, its spans and what it wrote."""

    def __init__(self, worker: Worker, exporter: InMemorySpanExporter, tracer: Tracer) -> None:
        self.worker, self._exporter, self._tracer = worker, exporter, tracer

    async def post(self, n: int, **headers: str) -> int:
        body = {"city": "Oslo", "n": n}
        async with (
            ClientSession(self.worker.address) as client,
            client.post("/topics/orders", json=body, headers=headers) as response,
        ):
            return response.status

    def spans(self) -> list[ReadableSpan]:
        self._tracer._provider.force_flush()  # type: ignore[attr-defined]
        return list(self._exporter.get_finished_spans())

    async def written(self, topic: str, count: int) -> list[dict[str, str]]:
        """Return the headers of each record, once there are so many."""
        async with asyncio.timeout(30):
            while True:
                found = await read_topic(self.worker.board._broker, topic)
                headers = [own for records in found for own in _headers(records, topic)]
                if len(headers) >= count:
                    return [{name: content.decode() for name, content in own} for own in headers]
                await asyncio.sleep(0.02)


def _headers(records: Records, topic: str) -> list[Headers]:
    """Return the headers of each record; in a repartition topic those without a key only tell the time."""
    every = zip(records.headers or [()] * len(records), records.keys, strict=True)
    return [own for own, key in every if key is not None or not topic.endswith("-repartition")]


@asynccontextmanager
async def running(folder: Path, *, traced: bool = True) -> AsyncIterator[Traced]:
    exporter = InMemorySpanExporter()
    tracer = open_tracer("shop", exporter)
    worker = Worker(shop(), Settings(data=folder, web_port=0), tracer=tracer if traced else None)
    run = asyncio.create_task(worker.run())
    try:
        await until(lambda: worker.ready or run.done(), "the worker")
        yield Traced(worker, exporter, tracer)
    finally:
        worker.stop()
        await run
        tracer.close()


async def test_one_trace_from_the_sender_to_the_outputs(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        assert await shop.post(7, traceparent=PARENT) == 200
        headers = [(await shop.written(topic, 1))[0]["traceparent"] for topic in ("orders", *OUTPUTS)]
        await until(lambda: len(shop.spans()) == 3, "all spans")
        spans = {span.name: span for span in shop.spans()}
    assert all(re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-0[13]", header) for header in headers)
    assert {f"{span.context.trace_id:032x}" for span in spans.values() if span.context} == {TRACE}
    send, process, behind = (spans[n] for n in ("send orders", "process orders", f"process {OUTPUTS[3]}"))
    assert f"{_parent(send):016x}" == SENDER
    assert _parent(process) == _id(send)
    assert _parent(behind) == _id(process)
    assert {header.split("-")[2] for header in headers[1:]} == {f"{_id(process):016x}"}
    assert process.attributes is not None
    assert process.attributes["messaging.destination.name"] == "orders"
    assert process.attributes["messaging.kafka.offset"] == 0
    assert process.attributes["flows.task"] == "orders/0"
    assert (process.end_time or 0) > (process.start_time or 0)


async def test_who_sends_no_trace_begins_one_at_the_gateway(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        assert await shop.post(7) == 200
        (kept,) = await shop.written("kept", 1)
        await until(lambda: len(shop.spans()) == 3, "all spans")
        (send,) = (span for span in shop.spans() if span.name == "send orders")
    assert send.parent is None
    assert kept["traceparent"].split("-")[1] == f"{send.context.trace_id:032x}" if send.context else False


@pytest.mark.parametrize("flags", ["00", "02"])
async def test_what_is_not_sampled_makes_no_span_and_a_refusal_is_an_error(tmp_path: Path, flags: str) -> None:
    async with running(tmp_path) as shop:
        assert await shop.post(7, traceparent=PARENT[:-2] + flags) == 200
        await shop.written("kept", 1)
        assert await shop.post("x", traceparent=PARENT) == 422  # type: ignore[arg-type]
        assert [(span.name, span.status.is_ok) for span in shop.spans()] == [("send orders", False)]


async def test_without_tracing_nothing_is_added_and_what_comes_is_passed_on(tmp_path: Path) -> None:
    async with running(tmp_path, traced=False) as shop:
        assert await shop.post(7, traceparent=PARENT) == 200
        for topic in ("orders", *OUTPUTS):
            assert await shop.written(topic, 1) == [{}]
        assert shop.spans() == []


@pytest.mark.parametrize("header", ["", "x", "00-0-0-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 55, "\x00"])
def test_a_header_that_is_none_begins_a_trace(header: str) -> None:
    exporter = InMemorySpanExporter()
    tracer = open_tracer("shop", exporter)
    span = tracer.begin("send", "producer", header.encode(), {})
    span.end()
    tracer.close()
    (found,) = exporter.get_finished_spans()
    assert found.parent is None
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", span.header)


def test_spans_of_what_is_not_committed_are_never_told() -> None:
    exporter = InMemorySpanExporter()
    tracer = open_tracer("shop", exporter)
    traces, tp = TaskTraces(tracer, "t/0", "shop"), TopicPartition("t", 0)
    traces.taken(
        Records(
            tp=tp,
            offsets=[3, 5, 6],
            timestamps=[0] * 3,
            keys=[None] * 3,
            values=[None] * 3,
            headers=[(("traceparent", PARENT.encode()),), (), (("traceparent", PARENT.encode()),)],
            next_offset=7,
        )
    )
    traces.committed({tp: 3})
    traces.committed({tp: 6})
    tracer.close()
    assert [(s.attributes or {})["messaging.kafka.offset"] for s in exporter.get_finished_spans()] == [3]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'flows\[otel\]'"):
        open_tracer("shop")


def _id(span: ReadableSpan) -> int:
    return span.context.span_id if span.context else 0


def _parent(span: ReadableSpan) -> int:
    return span.parent.span_id if span.parent else 0
