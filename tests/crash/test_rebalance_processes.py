"""Workers in real processes on one embedded broker, killed by SIGKILL in the middle of a hand-over."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.brokers.base import Broker, Outgoing, TopicPartition, Transaction
from flows.brokers.memory import MemoryBroker
from flows.brokers.registry import open_broker
from flows.compile.context import topic_encoders
from flows.compile.names import topic_specs
from flows.decode.codecs import Codecs
from flows.testing import Driver
from tests.contracts.broker_fixtures import read_all
from tests.crash.airport import PARTITION, Airport, check, history

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0
Process = subprocess.Popen[str]


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(processes: list[Process], data: Path, die_at: str, *more: str) -> Process:
    command = [sys.executable, "-m", "tests.crash.process", str(data), die_at, *more]
    processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    return processes[-1]


async def fill(broker: Broker, airport: Airport) -> None:
    plan = airport.app.plan()
    for spec in topic_specs(plan):
        await broker.create_topic(spec)
    encoders = topic_encoders(plan, Codecs(plan), broker.max_record_bytes, lambda: 0)
    for flight in history():
        out = Outgoing()
        _, where, *record = encoders.encode("flights", flight, None, flight.at, PARTITION[flight.origin], None)
        out.append(*record)
        await broker.produce({TopicPartition("flights", where): out})


async def copied(broker: Broker, group: str) -> MemoryBroker:
    """Copy everything into a broker in memory, where the driver can look at it."""
    copy = MemoryBroker()
    producer = await copy.producer("copy")
    for name, spec in (await broker.topics()).items():
        await copy.create_topic(spec)
        tps = [TopicPartition(name, p) for p in range(spec.partitions)]
        for tp in tps:
            for r in await read_all(broker, tp):
                out = Outgoing(list(r.keys), list(r.values), list(r.timestamps), r.headers and list(r.headers))
                await copy.produce({tp: out})
        await producer.commit(Transaction(group=group, offsets=await broker.committed(group, tps)))
    return copy


@pytest.mark.parametrize(("gives", "takes"), [("rebalance 2", "restore 5"), ("rebalance 4", "start 1")])
async def test_both_sides_of_a_hand_over_are_killed(
    tmp_path: Path, processes: list[Process], gives: str, takes: str
) -> None:
    airport = Airport()
    broker = open_broker(f"embedded://{tmp_path / 'broker'}")
    await broker.start()
    try:
        await fill(broker, airport)
        first = start(processes, tmp_path, gives)
        assert first.stdout is not None
        first.stdout.readline()
        second = start(processes, tmp_path, takes)
        assert first.wait(timeout=DEADLINE) == -signal.SIGKILL
        assert second.wait(timeout=DEADLINE) == -signal.SIGKILL
        assert start(processes, tmp_path, "never", "--drain").wait(timeout=DEADLINE) == 0
        copy = await copied(broker, "airport")
    finally:
        await broker.close()
    with Driver(airport.app, broker=copy) as t:
        check(t, airport, history())
