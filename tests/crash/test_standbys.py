"""Warm copies: kept up with the changelogs, closed when they must be, and no more work for the task that follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

import flows
from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.memory import MemoryBroker
from flows.clock import ManualClock
from flows.compile.names import topic_specs
from flows.decode.codecs import Codecs
from flows.errors import StateCorrupt
from flows.metrics import WorkerMetrics
from flows.run.asking import Asking
from flows.run.environment import Environment
from flows.run.standby import Standbys
from flows.state.memory import MemoryStore
from flows.testing_tables import ChangeLog

TASK = "visits/1"
LOG = TopicPartition("site-counts-changelog", 1)


def site() -> flows.App:
    app = flows.App("site", partitions=2)
    visits = app.topic("visits", value=str)
    counts = app.table("counts", key=str, value=int, default=int)

    @app.agent(visits)
    async def count(stream: AsyncIterator[str]) -> None:
        async for page in stream:
            counts[page] += 1

    return app


class Disk:
    """The stores of a worker; a copy's store may be opened once at a time, and may be damaged."""

    def __init__(self, clock: ManualClock) -> None:
        self.store = MemoryStore(clock)
        self.close, self.store.close = self.store.close, self._closed  # type: ignore[method-assign]
        self.open = 0
        self.damaged = False
        self.discarded: list[str] = []

    def __call__(self, task_id: str) -> MemoryStore:
        if self.damaged:
            raise StateCorrupt("a block does not match its checksum")
        assert (task_id, self.open) == (TASK, 0)
        self.open += 1
        return self.store

    def _closed(self) -> None:
        self.open -= 1

    def discard(self, task_id: str) -> None:
        self.discarded.append(task_id)
        self.damaged = False


class World:
    def __init__(self) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.broker = MemoryBroker()
        self.disk = Disk(self.clock)
        self.plan = site().plan()
        self.metrics = WorkerMetrics()
        env = Environment(
            plan=self.plan,
            broker=self.broker,
            codecs=Codecs(self.plan),
            clock=self.clock,
            metrics=self.metrics,
            hub=ChangeLog(),
            decoders={},
            open_store=self.disk,
            progress=lambda *_: None,
            backoff=lambda attempt: asyncio.sleep(0),
            asking=Asking(self.plan, Codecs(self.plan), self.broker, self.clock),
        )
        self.copies = Standbys(env, 1, stored=lambda task: self.disk.store.positions(), discard=self.disk.discard)

    async def write(self, rows: dict[bytes, bytes | None]) -> None:
        now = int(self.clock.now() * 1000)
        await self.broker.produce({LOG: Outgoing(list(rows), list(rows.values()), [now] * len(rows))})

    def rows(self) -> dict[bytes, bytes]:
        return dict(self.disk.store.scan("counts")) if "counts" in self.disk.store.tables() else {}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  (the copy is another task's)
                await asyncio.sleep(0.001)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("flows.run.standby._LOOK", 0.001)
    monkeypatch.setattr("flows.run.standby._RETRY", 0.001)
    world = World()
    for spec in topic_specs(world.plan):
        await world.broker.create_topic(spec)
    yield world
    await world.copies.close()
    assert world.disk.open == 0


async def test_a_copy_follows_its_changelog(world: World) -> None:
    await world.write({b"a": b"1", b"b": b"1"})
    assert await world.copies.all_lags([TASK]) == {}, "members on one disk copy nothing"
    world.copies.keep([TASK])
    await world.until(lambda: world.rows() == {b"a": b"1", b"b": b"1"})
    await world.until(lambda: world.copies.lags == {TASK: 0})
    await world.write({b"a": None, b"c": b"7"})
    await world.until(lambda: world.rows() == {b"b": b"1", b"c": b"7"})


async def test_an_ended_copy_is_closed_where_it_stands(world: World) -> None:
    await world.write({b"a": b"1"})
    world.copies.keep([TASK])
    await world.until(lambda: bool(world.rows()))
    await world.copies.end(TASK)
    assert (world.disk.open, world.copies.lags) == (0, {})
    world.broker.shares_disk = False
    assert await world.copies.all_lags([TASK, "source:x"]) == {TASK: 0}
    await world.write({b"a": b"2", b"b": b"1"})
    assert await world.copies.all_lags([TASK]) == {TASK: 2}
    assert world.rows() == {b"a": b"1"}
    world.copies.keep([TASK])
    await world.until(lambda: world.rows() == {b"a": b"2", b"b": b"1"})
    world.copies.keep([])
    await world.until(lambda: world.disk.open == 0)


async def test_a_damaged_copy_begins_anew(world: World) -> None:
    await world.write({b"a": b"1"})
    world.disk.damaged = True
    world.copies.keep([TASK])
    await world.until(lambda: world.copies.lags == {TASK: 0})
    assert world.disk.discarded == [TASK]
    assert world.rows() == {b"a": b"1"}


async def test_silence_longer_than_tombstones_last_is_no_absence(world: World) -> None:
    """A copy that was there all the time saw every tombstone, and is not rebuilt."""
    await world.write({b"a": b"1"})
    world.copies.keep([TASK])
    await world.until(lambda: world.copies.lags == {TASK: 0})
    dropped: list[str] = []
    drop = world.disk.store.drop_table
    world.disk.store.drop_table = lambda name: (dropped.append(name), drop(name))[1]  # type: ignore[method-assign]
    looks: list[int] = []
    ends = world.broker.end_offsets
    world.broker.end_offsets = lambda tps, **how: (looks.append(1), ends(tps, **how))[1]  # type: ignore[method-assign]
    for _ in range(30):
        world.clock.advance(86400.0)
        seen = len(looks)
        await world.until(lambda seen=seen: len(looks) > seen + 2)  # type: ignore[misc]
    await world.write({b"b": b"1"})
    await world.until(lambda: world.rows() == {b"a": b"1", b"b": b"1"})
    assert dropped == []
    # A process that was stopped for so long may have missed some: all begins anew.
    await world.copies.end(TASK)
    world.clock.advance(30 * 86400.0)
    await world.write({b"c": b"1"})
    world.copies.keep([TASK])
    await world.until(lambda: world.rows().keys() == {b"a", b"b", b"c"})
    assert dropped == ["counts"]


async def test_only_tasks_with_state_are_copied(world: World) -> None:
    world.copies.keep(["source:x", "nobody/0"])
    assert world.copies.lags == {}
    assert asyncio.all_tasks() == {asyncio.current_task()}
