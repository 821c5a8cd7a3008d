"""Random histories of retries, two gateways, kills and commits of unknown fate: all that was sent is there once.

No server and no disk: the gateways' own writers and lanes, on a broker in memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.brokers.base import Producer, TopicPartition, TopicSpec, Transaction
from flows.brokers.memory import MemoryBroker
from flows.clock import SystemClock
from flows.errors import BrokerUnavailable, Fenced, FlowsError, OutcomeUnknown
from flows.web.gateway import Gateway, GatewayLimits, lane
from flows.web.gateway.base import Events, Refused
from flows.web.gateway.book import Look, Once, Sequence, digest
from flows.web.gateway.writers import Broken, Session

KEYS, CLIENTS, PARTITIONS = 6, 3, 2
FATES = ("well", "lost after", "lost before", "away", "fenced after", "fenced before")


@pytest.fixture(autouse=True, scope="module")
def short_pauses() -> Any:
    """Lanes pause as they do, but less: without any, two gateways would take a lane from each other for ever."""
    patch = pytest.MonkeyPatch()
    patch.setattr(lane, "_PAUSE", (0.0002, 0.002))
    yield
    patch.undo()


class Made(NamedTuple):
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int | None = None


class Faulty(MemoryBroker):
    """A broker whose commits meet the fates that are left, and take some turns of the loop."""

    def __init__(self, fates: list[str], *, markers: bool) -> None:
        super().__init__(markers=markers)
        self.fates = fates

    async def producer(self, transactional_id: str, **more: Any) -> Producer:
        return _Fated(await super().producer(transactional_id, **more), self)


class _Fated:
    def __init__(self, producer: Producer, broker: Faulty) -> None:
        self._producer, self._broker = producer, broker

    async def commit(self, transaction: Transaction) -> dict[TopicPartition, int]:
        fate = self._broker.fates.pop(0) if self._broker.fates else "well"
        await asyncio.sleep(0)
        if fate == "away":
            raise BrokerUnavailable("the broker is away")
        ends = {} if fate.endswith("before") else await self._producer.commit(transaction)
        await asyncio.sleep(0)
        if fate != "well":
            raise Fenced("taken") if fate.startswith("fenced") else OutcomeUnknown("lost")
        return ends

    async def close(self) -> None:
        await self._producer.close()


class World:
    """Two gateways and the clients that send to them."""

    def __init__(self, fates: list[str], *, markers: bool) -> None:
        self.broker = Faulty(fates, markers=markers)
        self.gateways = [self._gateway(), self._gateway()]
        self.acked: Counter[bytes] = Counter()
        self.sent: set[bytes] = set()

    def _gateway(self) -> Gateway:
        return Gateway("app", {}, self.broker, SystemClock(), GatewayLimits(linger=0.0))

    async def kill(self, number: int) -> None:
        """Let a gateway end between two turns of the loop, wherever its commit is."""
        gateway, self.gateways[number] = self.gateways[number], self._gateway()
        for writer in (gateway._plain, *gateway._lanes):
            if writer._working is not None:
                writer._working.cancel()
                await asyncio.gather(writer._working, return_exceptions=True)

    def post(self, number: int, key: int) -> asyncio.Future[bool]:
        """Send the event of a key to a gateway."""
        name = b"key-%d" % key
        self.sent.add(name)
        return self.gateways[number].submit(events(name, key), Once(digest(name), digest(b"mark", name)))

    async def pour(self, number: int, client: int, count: int) -> list[asyncio.Future[bool]]:
        """Connect a client to a gateway, and send its next events without waiting between them."""
        id_ = digest(b"client-%d" % client)
        last = await self.gateways[number].submit(Events(), Look(id_))
        session, found = Session(), []
        for seq in range(last + 1, last + 1 + count):
            name = b"client-%d-%d" % (client, seq)
            self.sent.add(name)
            found.append(self.gateways[number].submit(events(name, seq), Sequence(id_, seq), session))
        return found

    def there(self) -> dict[int, list[bytes]]:
        """Return what is in the topic, by partition."""
        tps = [TopicPartition("events", p) for p in range(PARTITIONS)]
        found = {tp.partition: self.broker.read(tp, 0) for tp in tps}
        return {p: [v for v in records.values if v is not None] if records else [] for p, records in found.items()}


def events(name: bytes, number: int) -> Events:
    found = Events()
    found.add("events", Made(number % PARTITIONS, None, name), 0)
    return found


KNOWN = (FlowsError, Refused, Broken)
sends = st.one_of(
    st.tuples(st.just("post"), st.integers(0, 1), st.integers(0, KEYS - 1)),
    st.tuples(st.just("pour"), st.integers(0, 1), st.integers(0, CLIENTS - 1)),
)
rounds = st.tuples(st.lists(sends, max_size=6), st.integers(0, 12), st.sampled_from([None, None, 0, 1]))


async def live(history: list[Any], fates: list[str], *, markers: bool) -> None:
    """Send, wait some turns, kill, again and again; then let all clients come to an end."""
    world = World(fates, markers=markers)
    await world.broker.create_topic(TopicSpec(name="events", partitions=PARTITIONS))
    for sent, turns, killed in history:
        waiting: list[asyncio.Task[Any]] = []
        for how, gateway, which in sent:
            if how == "post":
                waiting.append(asyncio.ensure_future(told(world, world.post(gateway, which), b"key-%d" % which)))
            else:
                waiting.append(asyncio.create_task(poured(world, gateway, which)))
        for _ in range(turns):
            await asyncio.sleep(0)
        if killed is not None:
            await world.kill(killed)
            for task in waiting:
                task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    world.broker.fates.clear()
    for number in (0, 1):  # one that lives could still write, and what the other knows of its lanes would be of before
        await world.kill(number)
    for key in range(KEYS):
        await told(world, world.post(0, key), b"key-%d" % key)
    found = world.there()
    for partition, names in found.items():
        again = {name: n for name, n in Counter(names).items() if n > 1}
        assert not again, f"partition {partition}: {again} are there more than once"
        for client in range(CLIENTS):
            mine = [int(n.rpartition(b"-")[2]) for n in names if n.startswith(b"client-%d-" % client)]
            assert mine == sorted(mine), f"client {client} is out of order: {mine}"
    there = {name for names in found.values() for name in names}
    assert there <= world.sent
    assert not set(world.acked) - there, "acknowledged, but not there"
    for client in range(CLIENTS):
        last = await world.gateways[0].submit(Events(), Look(digest(b"client-%d" % client)))
        wanted = {b"client-%d-%d" % (client, seq) for seq in range(last + 1)}
        assert wanted == {name for name in there if name.startswith(b"client-%d-" % client)}
    for gateway in world.gateways:
        await gateway.close()


async def told(world: World, done: asyncio.Future[bool], name: bytes) -> None:
    """Note the answer; whoever is cut off waits for no other."""
    await asyncio.wait([done])
    if not done.cancelled() and done.exception() is None:
        world.acked[name] += 1
    elif not done.cancelled() and not isinstance(done.exception(), KNOWN):
        done.result()


async def poured(world: World, gateway: int, client: int) -> None:
    try:
        found = await world.pour(gateway, client, 3)
    except KNOWN:
        return
    for done in found:
        done.add_done_callback(lambda done: done.cancelled() or done.exception())
    names = [name for name in sorted(world.sent) if name.startswith(b"client-%d-" % client)]
    for done, name in zip(found, names[-3:], strict=False):
        await told(world, done, name)


@settings(max_examples=150)
@given(history=st.lists(rounds, max_size=6), fates=st.lists(st.sampled_from(FATES), max_size=10), markers=st.booleans())
def test_all_that_was_sent_is_there_once(history: list[Any], fates: list[str], markers: bool) -> None:
    asyncio.run(live(history, list(fates), markers=markers))


@settings(max_examples=60)
@given(writes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=30), retention=st.integers(5, 60))
def test_a_book_that_is_read_back_says_the_same(writes: list[tuple[int, int]], retention: int) -> None:
    """A key is known for its retention and no longer, whether the book was kept or read from the topic."""
    from flows.brokers.base import Records
    from flows.web.gateway.book import Book, record_of

    kept, now, log = Book(retention / 1000), 0, []
    written: dict[int, int] = {}
    for key, passed in writes:
        now += passed
        kept.expire(now)
        once = Once(digest(b"%d" % key), digest(b"mark"))
        assert kept.is_written(once) == (key in written and written[key] > now - retention)
        if not kept.is_written(once):
            out = record_of([once], now)
            log.append((out.keys[0], out.values[0], now))
            kept.noted([once], now, len(log))
            written[key] = now
    again = Book(retention / 1000)
    if log:
        keys, values, times = (list(column) for column in zip(*log, strict=True))
        again.read(
            Records(
                tp=TopicPartition("keys", 0),
                offsets=list(range(len(log))),
                timestamps=times,
                keys=keys,
                values=values,
                headers=None,
                next_offset=len(log),
            )
        )
    again.expire(now)
    for key in range(4):
        once = Once(digest(b"%d" % key), digest(b"mark"))
        assert again.is_written(once) == kept.is_written(once)
    assert len(again) == len(kept)
    assert msgspec.json.encode(again.oldest()) == msgspec.json.encode(kept.oldest())
