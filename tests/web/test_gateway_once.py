"""Requests under a key and messages with a sequence are there once: over retries, gateways, and unknown outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import time
from typing import Any
from uuid import uuid4

import pytest

from flows.brokers.base import Broker, Producer, Transaction
from flows.clock import ManualClock
from flows.errors import BrokerUnavailable, Fenced, OutcomeUnknown
from tests.contracts.broker_fixtures import KINDS, Handles
from tests.web.gates import Gate, ride, rides_app

ONCE = {"Idempotency_Key": "request-1"}


@pytest.fixture(params=KINDS)
async def handles(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Handles]:
    url = str(request.getfixturevalue("kafka").url) if request.param == "kafka" else f"embedded://{tmp_path / 'broker'}"
    found = Handles(url)
    yield found
    await found.close()


@pytest.fixture
async def broker(handles: Handles) -> Broker:
    return await handles.open()


@pytest.fixture
def name() -> str:
    """An app that no other test of a shared broker has."""
    return f"gates-{uuid4().hex[:8]}"


@pytest.fixture
async def gate(broker: Broker, name: str) -> AsyncIterator[Gate]:
    async with Gate(broker, rides_app(name)) as gate:
        yield gate


async def test_a_request_that_is_sent_again_is_there_once(gate: Gate) -> None:
    first = await gate.post([ride(1), ride(2)], **ONCE)
    again = await gate.post([ride(1), ride(2)], **ONCE)
    assert (first[0], first[1]["duplicate"]) == (200, False)
    assert (again[0], again[1]["duplicate"], again[1]["records"]) == (200, True, 2)
    assert await gate.fares() == [1.0, 2.0]


async def test_many_at_the_same_time_are_there_once(gate: Gate) -> None:
    answers = await asyncio.gather(*(gate.post(ride(1), **ONCE) for _ in range(20)))
    assert sorted(answer["duplicate"] for _, answer in answers) == [False, *[True] * 19]
    assert await gate.fares() == [1.0]


async def test_a_key_means_one_request(gate: Gate) -> None:
    assert (await gate.post(ride(1), **ONCE))[0] == 200
    assert (await gate.post(ride(2), **ONCE))[0] == 422
    assert (await gate.post(ride(1), query="?timestamp=5", **ONCE))[0] == 422
    assert (await gate.post({"a": 1}, "notes", **ONCE))[0] == 200  # a key belongs to a topic
    assert await gate.fares() == [1.0]


async def test_of_two_requests_under_one_key_at_the_same_time_one_is_refused(gate: Gate) -> None:
    answers = await asyncio.gather(gate.post(ride(1), **ONCE), gate.post(ride(2), **ONCE))
    assert sorted(status for status, _ in answers) == [200, 422]
    assert len(await gate.fares()) == 1


async def test_a_request_that_was_refused_may_be_mended(gate: Gate) -> None:
    assert (await gate.post({"city": 1}, **ONCE))[0] == 422
    assert (await gate.post(ride(1), **ONCE))[0] == 200


async def test_the_next_gateway_knows_what_was_written(broker: Broker, handles: Handles, name: str) -> None:
    async with Gate(broker, rides_app(name)) as gate:
        await asyncio.gather(*(gate.post(ride(n), Idempotency_Key=f"k{n}") for n in range(30)))
    async with Gate(await handles.open(), rides_app(name)) as gate:
        answers = await asyncio.gather(*(gate.post(ride(n), Idempotency_Key=f"k{n}") for n in range(40)))
        assert [answer["duplicate"] for _, answer in answers] == [True] * 30 + [False] * 10
        assert await gate.fares() == [float(n) for n in range(40)]


async def test_two_gateways_at_the_same_time_write_once(broker: Broker, handles: Handles, name: str) -> None:
    """Each takes the lanes from the other, and finds what that has written."""
    async with Gate(broker, rides_app(name)) as one, Gate(await handles.open(), rides_app(name)) as other:
        sent = [gate.post(ride(n), Idempotency_Key=f"k{n}") for n in range(40) for gate in (one, other)]
        answers = await asyncio.gather(*sent)
        assert {status for status, _ in answers} == {200}
        assert sum(answer["duplicate"] for _, answer in answers) == 40
        assert await one.fares() == [float(n) for n in range(40)]


class Doubtful:
    """A producer whose next commits end otherwise than well: applied or not, with this error."""

    def __init__(self, producer: Producer, faults: list[tuple[bool, Exception]]) -> None:
        self._producer, self._faults = producer, faults

    async def commit(self, transaction: Transaction) -> Any:
        applied, error = self._faults.pop(0) if self._faults else (True, None)
        ends = await self._producer.commit(transaction) if applied else {}
        if error is not None:
            raise error
        return ends

    async def close(self) -> None:
        await self._producer.close()


def with_faults(gate: Gate, monkeypatch: pytest.MonkeyPatch, *faults: tuple[bool, Exception]) -> None:
    """Let the commits of the next holders of lanes go wrong."""
    left, real = list(faults), gate.broker.producer

    async def producer(id_: str) -> Doubtful:
        return Doubtful(await real(id_), left)

    monkeypatch.setattr(gate.broker, "producer", producer)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("error", [OutcomeUnknown("lost"), Fenced("taken")], ids=["unknown", "fenced"])
async def test_a_commit_of_unknown_fate_is_looked_up(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, applied: bool, error: Exception
) -> None:
    with_faults(gate, monkeypatch, (applied, error), (applied, error))
    assert (await gate.post(ride(1), **ONCE))[0] == 200
    assert (await gate.post(ride(1), **ONCE))[1]["duplicate"] is True
    assert await gate.fares() == [1.0]


async def test_an_answer_of_the_broker_that_nothing_was_written_is_passed_on(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_faults(gate, monkeypatch, (False, BrokerUnavailable("the broker is away")))
    status, answer = await gate.post(ride(1), **ONCE)
    assert (status, "nothing was written" in answer["error"]) == (503, True)
    assert (await gate.post(ride(1), **ONCE))[1]["duplicate"] is False
    assert await gate.fares() == [1.0]


async def test_keys_are_forgotten_after_their_time(broker: Broker, handles: Handles, name: str) -> None:
    clock = ManualClock(time())  # Kafka drops what is older than a topic keeps
    async with Gate(broker, rides_app(name), clock=clock, key_retention=600.0) as gate:
        await gate.post(ride(1), **ONCE)
        clock.advance(599)
        assert (await gate.post(ride(1), **ONCE))[1]["duplicate"] is True
        clock.advance(2)
        await gate.post(ride(2), Idempotency_Key="other")  # of whichever lane
    async with Gate(await handles.open(), rides_app(name), clock=clock, key_retention=600.0) as gate:
        assert (await gate.post(ride(1), **ONCE))[1]["duplicate"] is False


async def test_too_many_keys_are_refused_until_old_ones_go(broker: Broker, name: str) -> None:
    clock = ManualClock(time())  # Kafka drops what is older than a topic keeps
    async with Gate(broker, rides_app(name), clock=clock, keys=4) as gate:  # one a lane
        answers = [await gate.post(ride(n), Idempotency_Key=f"k{n}") for n in range(12)]
        assert 429 in {status for status, _ in answers}
        taken = [n for n, (status, _) in enumerate(answers) if status == 200]
        assert all([(await gate.post(ride(n), Idempotency_Key=f"k{n}"))[1]["duplicate"] for n in taken])
        assert await gate.fares() == [float(n) for n in taken]


async def test_a_client_goes_on_behind_its_last_sequence(broker: Broker, handles: Handles, name: str) -> None:
    async with Gate(broker, rides_app(name)) as gate:
        socket = await gate.connect("meter-1")
        assert socket.last is None
        for seq in range(5):
            await socket.send(seq, ride(seq))
        await socket.acked(4)
    async with Gate(await handles.open(), rides_app(name)) as gate:
        socket = await gate.connect("meter-1")
        assert socket.last == 4
        for seq in range(3, 8):  # two of them again, as if the answer had been lost
            await socket.send(seq, ride(seq))
        await socket.acked(7)
        assert await gate.fares() == [float(n) for n in range(8)]


async def test_the_newer_socket_of_a_client_replaces_the_older(gate: Gate) -> None:
    older = await gate.connect("meter-1")
    await older.send(0, ride(0))
    await older.acked(0)
    newer = await gate.connect("meter-1")
    assert newer.last == 0
    assert await older.close_code() == 4409
    await newer.send(1, ride(1))
    await newer.acked(1)
    assert await gate.fares() == [0.0, 1.0]


async def test_what_follows_a_message_that_failed_is_not_written(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the book would say of the failed one that it is there."""
    with_faults(gate, monkeypatch, (False, BrokerUnavailable("the broker is away")))
    socket = await gate.connect("meter-1")
    for seq in range(50):
        await socket.send(seq, ride(seq))
    told = await socket.read()
    assert (told["seq"], told["retry_after"]) == (0, 1)
    assert await socket.close_code() == 1013
    assert await gate.fares() == []
    again = await gate.connect("meter-1")
    assert again.last is None
    for seq in range(50):
        await again.send(seq, ride(seq))
    await again.acked(49)
    assert await gate.fares() == [float(n) for n in range(50)]
