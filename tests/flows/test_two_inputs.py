"""A task with several inputs: the smallest event time goes first, and nothing overtakes what was not fetched yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.brokers.base import Reader, Records, TopicPartition
from flows.brokers.memory import MemoryBroker
from flows.testing import Driver
from tests.drawn import drawn


class Tick(flows.Record):
    n: int
    at: float | None


class Joined:
    """Two topics whose agents write one table; `seen` is the order in which their records were processed."""

    def __init__(self) -> None:
        self.app = app = flows.App("two")
        self.left = app.topic("left", value=Tick, timestamp="at")
        self.right = app.topic("right", value=Tick, timestamp="at")
        self.out = app.topic("out", value=dict)
        seen = app.table("seen", value=int, default=int)

        @app.agent(self.left, sink=[self.out])
        async def from_left(stream):
            async for tick in stream:
                seen["all"] += 1
                yield {"is": ["left", tick.n], "turn": seen["all"]}

        @app.agent(self.right, sink=[self.out])
        async def from_right(stream):
            async for tick in stream:
                seen["all"] += 1
                yield {"is": ["right", tick.n], "turn": seen["all"]}

    def seen(self, t: Driver) -> list[list[Any]]:
        return [r.value["is"] for r in sorted(t.output(self.out), key=lambda r: r.value["turn"])]


TIMES = st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=10)


def in_order(left: list[int | None], right: list[int | None]) -> list[list[Any]]:
    """Take the head with the smallest time, one without a time at once, of equal ones the first topic's."""
    heads: dict[str, list[tuple[float, int]]] = {
        name: [(-1.0 if at is None else at, n) for n, at in enumerate(times)]
        for name, times in (("left", left), ("right", right))
    }
    found = []
    while any(heads.values()):
        name = min((name for name in heads if heads[name]), key=lambda name: (heads[name][0][0], name))
        found.append([name, heads[name].pop(0)[1]])
    return found


@drawn(60)
@given(TIMES, TIMES, st.sampled_from([1, 2, 3, 100]), st.sampled_from([1, 2, 100]), st.booleans())
def test_records_are_processed_in_the_order_of_their_times(
    left: list[int | None], right: list[int | None], fetch: int, chunk: int, crash: bool
) -> None:
    joined = Joined()
    with Driver(joined.app) as t:
        t._env.fetch_records = fetch
        for task in t._tasks:
            task._chunk = task.env.chunk = chunk
        with t.batch():
            for n, at in enumerate(left):
                t.send(joined.left, Tick(n, at))
            for n, at in enumerate(right):
                t.send(joined.right, Tick(n, at))
            if crash:
                t.crash()
        assert joined.seen(t) == in_order(left, right)


def test_an_input_at_its_end_holds_up_nothing() -> None:
    joined = Joined()
    with joined.app.test() as t:
        t.send(joined.left, Tick(0, 100.0))
        t.send(joined.right, Tick(0, 5.0))
        t.send(joined.left, Tick(1, 50.0))
        assert joined.seen(t) == [["left", 0], ["right", 0], ["left", 1]]


def test_bad_records_hold_up_nothing_either() -> None:
    joined = Joined()
    with joined.app.test() as t:
        with t.batch():
            t.send(joined.left, b"bad")
            t.send(joined.left, Tick(1, 4.0e9))
            t.send(joined.left, Tick(2, 7.0))
            t.send(joined.left, b"bad")
            t.send(joined.right, b"bad")
            t.send(joined.right, Tick(1, 5.0))
            t.send(joined.right, None)
        assert joined.seen(t) == [["right", 1], ["left", 2]]
        assert len(t.dead_letters()) == 5


class Withholding(MemoryBroker):
    """A broker that is slow to deliver some topics: their records are there, but do not come yet."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()

    def reader(self, positions: Mapping[TopicPartition, int]) -> Reader:
        return WithholdingReader(self, super().reader(positions))


class WithholdingReader:
    def __init__(self, broker: Withholding, reader: Reader) -> None:
        self._broker, self._reader = broker, reader
        self._paused: set[TopicPartition] = set()
        self.position, self.close = reader.position, reader.close

    async def fetch(self, max_records: int, timeout: float) -> list[Records]:
        slow = [tp for tp in self._positions if tp.topic in self._broker.held]
        self._reader.pause(slow)
        found = await self._reader.fetch(max_records, timeout)
        self._reader.resume(tp for tp in slow if tp not in self._paused)
        return found

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        tps = list(tps)
        self._paused.update(tps)
        self._reader.pause(tps)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        tps = list(tps)
        self._paused.difference_update(tps)
        self._reader.resume(tps)

    @property
    def _positions(self) -> Iterable[TopicPartition]:
        return list(self._reader._positions)  # type: ignore[attr-defined]


def test_records_wait_for_those_of_another_input_that_are_on_their_way() -> None:
    joined, broker = Joined(), Withholding()
    with Driver(joined.app, broker=broker) as t:
        broker.held = {"right"}
        with t.batch():
            t.send(joined.left, Tick(0, 10.0))
            t.send(joined.right, Tick(0, 5.0))
            t.send(joined.right, Tick(1, 15.0))
        t.advance("30s")
        assert joined.seen(t) == []
        broker.held = set()
        t.advance("1s")
        assert joined.seen(t) == [["right", 0], ["left", 0], ["right", 1]]


def test_silence_of_an_input_that_is_waited_for_is_no_silence() -> None:
    class Hit(flows.Record):
        at: float
        one: int = 1

    app = flows.App("two")
    left = app.topic("left", value=Hit, key="one", timestamp="at")
    right = app.topic("right", value=Hit, key="one", timestamp="at")
    waiting = left.window(flows.tumbling("1s", emit="close")).agg(n=flows.count()).table("waiting")
    both = app.table("both", key=int, value=int, default=int)

    @app.agent(left)
    async def from_left(stream):
        async for hit in stream:
            both[hit.one] += 1

    @app.agent(right)
    async def from_right(stream):
        async for hit in stream:
            both[hit.one] += 1

    broker = Withholding()
    with Driver(app, broker=broker) as t:
        t.send(left, Hit(0.0))
        broker.held = {"right"}
        t.send(right, Hit(0.5))
        t.advance("30s")
        assert t.table(waiting).rows() == []
        broker.held = set()
        t.advance("30s")
        assert [r["n"] for r in t.table(waiting).rows()] == [1]
        assert t.table(both).get(1) == 2
