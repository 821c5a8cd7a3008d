"""What the API tells of the app itself: its topology, agents and timers; and of its tasks and workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

import flows
from dsl.plan.arrows import arrows
from flows.web import WebServer
from tests.web.airport import Site

app = flows.App("fleet", partitions=2)


class Call(flows.Record):
    ship: str
    port: str
    at: float


calls = app.topic("calls", value=Call, key="ship", timestamp="at")
alerts = app.topic("alerts", value=dict)
calls.filter(flows.col("port") != "Kiel").group_by("port").agg(n=flows.count()).table("by_port")
seen = app.table("seen", key=str, value=int, default=int)
quiet = app.key_timer("quiet", key=str)


@app.agent(calls, sink=[alerts], concurrency=1)
async def watch(stream: AsyncIterator[Call]) -> AsyncIterator[dict[str, Any]]:
    async for call in stream:
        seen[call.ship] += 1
        quiet.set(call.ship, after="1h")
        yield {"ship": call.ship}


@app.timer("30s")
async def sweep() -> None:
    pass


@app.crontab("0 6 * * *")
async def report() -> None:
    pass


@quiet.on_time
async def overdue(ship: str, due: float) -> None:
    pass


@pytest.fixture
async def fleet(site: Site) -> AsyncIterator[ClientSession]:
    server: WebServer = site.server(plan=app.plan())
    async with ClientSession(await server.start()) as client:
        yield client
    await server.stop()


async def get(client: ClientSession, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_the_topology_is_a_graph_without_loose_ends(fleet: ClientSession) -> None:
    found = await get(fleet, "/api/topology")
    steps = {step["id"]: step for step in found["steps"]}
    assert len(steps) == len(found["steps"])
    assert {a[end] for a in found["arrows"] for end in ("start", "end")} <= set(steps)
    assert len(found["arrows"]) == len(list(arrows(app.plan())))
    assert (steps["calls"]["kind"], steps["calls"]["topic"], steps["calls"]["part"]) == ("topic", "calls", None)
    assert (steps["watch"]["kind"], steps["watch"]["part"]) == ("agent", "calls")
    assert steps["by_port"]["part"] == "by_port"
    assert {"start": "watch", "end": "alerts", "carries": "records"} in found["arrows"]
    assert {"start": "watch", "end": "seen", "carries": "table"} in found["arrows"]
    between = [s for s in found["steps"] if s["topic"] == "fleet-by_port-repartition"]
    assert [s["kind"] for s in between] == ["topic"]
    assert [p["tasks"] for p in found["parts"]] == [["calls/0", "calls/1"], ["by_port/0", "by_port/1"]]


async def test_agents_tell_what_they_read_write_and_keep(fleet: ClientSession) -> None:
    (found,) = await get(fleet, "/api/agents")
    assert found["name"] == "watch"
    assert (found["input"], found["writes"], sorted(found["tables"])) == ("calls", ["alerts"], ["quiet", "seen"])
    assert (found["retries"], found["on_error"], found["refused"]) == (3, "dead-letter", 0)
    assert found["tasks"] == ["calls/0", "calls/1"]


async def test_timers_tell_when_they_are_called(fleet: ClientSession) -> None:
    found = {timer["name"]: timer for timer in await get(fleet, "/api/timers")}
    assert {name: timer["kind"] for name, timer in found.items()} == {
        "sweep": "timer",
        "report": "crontab",
        "quiet": "key",
    }
    assert (found["sweep"]["every"], found["report"]["cron"]) == (30.0, "0 6 * * *")
    assert (found["sweep"]["tasks"], found["quiet"]["tasks"]) == ([], ["calls/0", "calls/1"])


async def test_a_worker_without_a_group_is_all_of_it(client: ClientSession) -> None:
    workers = await get(client, "/api/workers")
    assert [w["worker"] for w in workers["workers"]] == ["worker-1"]
    assert workers["workers"][0]["here"] is True
    tasks = await get(client, "/api/tasks")
    assert [t["id"] for t in tasks["tasks"]] == ["0_0"]
    assert tasks["unheld"] == []


async def test_what_steps_refused_is_told_of_agents(site: Site) -> None:
    site.state = msgspec.structs.replace(site.state, refused={"watch": 3, "calls": 1})
    server = site.server(plan=app.plan())
    async with ClientSession(await server.start()) as client:
        assert [agent["refused"] for agent in await get(client, "/api/agents")] == [3]
    await server.stop()
