"""Carries faults out: those of workers one after the other, and beside them those of brokers."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.kafka.chaos.schedule import BROKER_KINDS, Fault, Kind
from tests.kafka.chaos.watch import Pace, Strike
from tests.kafka.chaos.workers import LEASE, Failed, Fleet, Worker
from tests.kafka.cluster import Broker, Cluster

_ZOMBIE = LEASE + 4.0
_PATIENCE = 180.0
_LOOK = 0.2


class Faults:
    """What befalls a cluster and a fleet."""

    def __init__(self, cluster: Cluster, fleet: Fleet, pace: Pace, say: Callable[[str], None]) -> None:
        self._cluster, self._fleet, self._pace, self._say = cluster, fleet, pace, say
        self._next_broker = self._turns = 0

    async def run(self, schedule: list[Fault]) -> None:
        """Carry out a schedule to its end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lane([f for f in schedule if f.kind not in BROKER_KINDS]))
            group.create_task(self._lane([f for f in schedule if f.kind in BROKER_KINDS]))

    async def _lane(self, faults: list[Fault]) -> None:
        for fault in faults:
            await self._pace.until(partial(self._is_due, fault))
            if fault.kind in BROKER_KINDS:
                await self.healed()
            act = self._acts[fault.kind](self)
            strike = Strike(fault.kind, self._pace.now)
            self._pace.strikes.append(strike)
            whom = await act(fault)
            strike.ended = self._pace.now
            self._say(f"{strike.begun:7.1f} to {strike.ended:7.1f} s: {fault.kind}: {whom}")

    def _is_due(self, fault: Fault) -> bool:
        return self._pace.processed >= fault.at

    async def healed(self) -> None:
        """Wait until every partition has all its replicas in sync."""
        deadline = self._pace.now + _PATIENCE
        while (ill := await self._out_of_sync()) is None or ill:
            if self._pace.now > deadline:
                raise Failed(f"the cluster did not heal within {_PATIENCE:g} s: {(ill or ['no answer'])[:3]}")
            await asyncio.sleep(_LOOK)

    async def partitions(self) -> dict[str, list[Any]] | None:
        """Return the partitions of all topics as the brokers tell them; None where none answers."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._cluster.bootstrap, request_timeout_ms=5_000)
        try:
            await admin.start()
            return {t["topic"]: t["partitions"] for t in await admin.describe_topics()}
        except (KafkaError, OSError, TimeoutError):
            return None
        finally:
            await admin.close()

    async def _out_of_sync(self) -> list[str] | None:
        topics = await self.partitions()
        if topics is None:
            return None
        count = len(self._cluster.brokers)
        return [f"{t}/{p['partition']}" for t, ps in topics.items() for p in ps if len(p["isr"]) < count]

    # Workers

    async def _kill_worker(self, fault: Fault) -> str:
        worker = self._fleet.pick(fault.who)
        worker.kill()
        return await self._again(worker, fault)

    async def _lose_worker(self, fault: Fault) -> str:
        worker = self._fleet.pick(fault.who)
        worker.kill()
        worker.lose_disk()
        return await self._again(worker, fault)

    async def _again(self, worker: Worker, fault: Fault) -> str:
        await asyncio.sleep(fault.pause)
        worker.start()
        await self._joined(worker)
        return f"{worker.name}, started after {fault.pause:g} s"

    async def _joined(self, worker: Worker) -> None:
        async with asyncio.timeout(_PATIENCE):
            await self._pace.until(lambda: worker.joined)

    async def _suspend_worker(self, fault: Fault) -> str:
        worker = self._fleet.pick(fault.who)
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(_ZOMBIE)
        worker.signal(signal.SIGCONT)
        return f"{worker.name}, for {_ZOMBIE:g} s"

    async def _add_worker(self, fault: Fault) -> str:
        worker = self._fleet.add()
        await self._joined(worker)
        return worker.name

    async def _remove_worker(self, fault: Fault) -> str:
        worker = self._fleet.pick(fault.who)
        self._fleet.active.remove(worker)
        await asyncio.to_thread(worker.stop)
        return worker.name

    # Brokers

    async def _restart_broker(self, fault: Fault) -> str:
        broker = self._in_turn()
        await asyncio.to_thread(broker.stop)
        return await self._back(broker, fault)

    async def _kill_broker(self, fault: Fault) -> str:
        broker = self._in_turn()
        await asyncio.to_thread(broker.kill)
        return await self._back(broker, fault)

    async def _back(self, broker: Broker, fault: Fault) -> str:
        await asyncio.sleep(fault.pause)
        await asyncio.to_thread(broker.start)
        return f"broker {broker.node}, started after {fault.pause:g} s"

    async def _move_leaders(self, fault: Fault) -> str:
        """Put another broker first among each partition's replicas, those of coordinators too, and let it lead."""
        self._turns += 1
        nodes = [b.node for b in self._cluster.brokers]
        plan = [
            {"topic": topic, "partition": p["partition"], "replicas": _rotated(nodes, p["partition"] + self._turns)}
            for topic, partitions in (await self.partitions() or {}).items()
            for p in partitions
        ]
        path = self._cluster.folder / "reassignment.json"
        path.write_text(json.dumps({"version": 1, "partitions": plan}))
        given = ["--reassignment-json-file", str(path), "--execute"]
        await asyncio.to_thread(self._cluster.tool, "reassign.ReassignPartitionsCommand", *given)
        elect = ["--election-type", "preferred", "--all-topic-partitions"]
        await asyncio.to_thread(self._cluster.tool, "LeaderElectionCommand", *elect)
        return f"{len(plan)} partitions"

    def _in_turn(self) -> Broker:
        broker = self._cluster.brokers[self._next_broker % len(self._cluster.brokers)]
        self._next_broker += 1
        return broker

    _acts: dict[Kind, Callable[[Faults], Callable[[Fault], Awaitable[str]]]] = {
        Kind.KILL_WORKER: lambda self: self._kill_worker,
        Kind.LOSE_WORKER: lambda self: self._lose_worker,
        Kind.ZOMBIE: lambda self: self._suspend_worker,
        Kind.ADD_WORKER: lambda self: self._add_worker,
        Kind.REMOVE_WORKER: lambda self: self._remove_worker,
        Kind.RESTART_BROKER: lambda self: self._restart_broker,
        Kind.KILL_BROKER: lambda self: self._kill_broker,
        Kind.MOVE_LEADERS: lambda self: self._move_leaders,
    }


def _rotated(nodes: list[int], by: int) -> list[int]:
    by %= len(nodes)
    return nodes[by:] + nodes[:by]
