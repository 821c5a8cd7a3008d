"""Several workers of one group on a broker in memory and a clock that is moved by hand; each may die at any step.

A death is that of a killed process: from that moment on nothing of the member reaches the broker, its tasks stay its
own until its lease runs out, and its disk keeps what was written.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from msgspec import structs

import flows
from flows.brokers.memory import MemoryBroker
from flows.clock import ManualClock
from flows.compile.names import topic_specs
from flows.compile.tables import table_decoders
from flows.decode.codecs import Codecs
from flows.metrics import WorkerMetrics
from flows.run.asking import Asking
from flows.run.drained import is_drained
from flows.run.environment import Environment
from flows.run.handover import Handover
from flows.run.progress import Progress
from flows.run.runner import TaskRunner
from flows.run.standby import Standbys
from flows.settings import load_settings
from flows.state.memory import MemoryStore
from flows.testing_loop import ManualLoop
from flows.testing_tables import ChangeLog

LEASE = 10.0
_STRIDE = 0.05
_STRIDES = 4000


class Crash(BaseException):
    """The process dies here."""


class Life:
    """Whether a member is alive; `at(step)` may end it."""

    def __init__(self, at: Callable[[str], bool]) -> None:
        self.over = False
        self._at = at

    def probe(self, step: str) -> None:
        self.check()
        if self._at(step):
            self.over = True
            raise Crash(step)

    def check(self) -> None:
        if self.over:
            raise Crash("dead")


class Mortal:
    """Something of the broker's (itself, a producer, a reader, a membership) in the hands of a member."""

    def __init__(self, target: Any, life: Life) -> None:
        self._target, self._life = target, life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "close" and self._life.over:
                return asyncio.sleep(0)
            self._life.check()
            result = found(*args, **kwargs)
            return self._arrive(result) if inspect.isawaitable(result) else self._held(result)

        return call

    async def _arrive(self, result: Any) -> Any:
        found = await result
        self._life.check()
        return self._held(found)

    def _held(self, found: Any) -> Any:
        parts = any(hasattr(found, name) for name in ("commit", "fetch", "assignment"))
        return Mortal(found, self._life) if parts else found


class Machine:
    """One place where a worker runs: its disk outlives the worker."""

    def __init__(self, group: Group, name: str) -> None:
        self.group, self.name = group, name
        self.stores: dict[str, MemoryStore] = {}
        self.starts = 0
        self.running = self.leaving = False

    def start(self) -> None:
        """Start a worker that joins the group."""
        group = self.group
        self.starts += 1
        self.id = f"{self.name}-{self.starts}"
        self.life = Life(lambda step: group.dies(self.name, step))
        self.env = Environment(
            plan=group.plan,
            broker=Mortal(group.broker, self.life),  # type: ignore[arg-type]
            codecs=Codecs(group.plan),
            clock=group.clock,
            metrics=WorkerMetrics(),
            hub=ChangeLog(),
            decoders=group.decoders,
            open_store=lambda task: self.stores.setdefault(task, MemoryStore(group.clock)),
            progress=lambda *_: None,
            backoff=_at_once,
            asking=Asking(group.plan, Codecs(group.plan), group.broker, group.clock),
            idle_after=1e9,
            probe=self.life.probe,
        )
        self.runner = TaskRunner(
            self.env,
            Progress(load_settings("airport")),
            None,
            discard=lambda task: self.stores.pop(task, None),
            compatible=lambda: None,
        )
        self.failures: list[BaseException | None] = []
        copies = Standbys(self.env, 0, stored=lambda task: None, discard=lambda task: None)
        self.handover = Handover(self.env, self.id, self.runner, copies, self.failures.append)
        self.running = True
        self.work = group.loop.create_task(self._run())

    async def _run(self) -> None:
        await self.handover.join(f"{self.id}:6066", "plan")
        self.following = asyncio.ensure_future(self.handover.follow())
        await asyncio.wait([self.following])

    def leave(self) -> None:
        """Ask the worker to stop."""
        self.leaving = True
        self.work = self.group.loop.create_task(self._leave())

    async def _leave(self) -> None:
        self.following.cancel()
        await asyncio.wait([self.following])
        await self.handover.leave()
        self.running = self.leaving = False

    async def bury(self) -> None:
        """End what the dead process left in the loop."""
        self.work.cancel()
        if hasattr(self, "following"):
            self.following.cancel()
            await asyncio.wait([self.following])
        await asyncio.wait([self.work])
        await self.handover.abort()
        for task in (self.work, *([self.following] if hasattr(self, "following") else [])):
            if not task.cancelled():
                assert task.exception() is None or isinstance(task.exception(), Crash)
        self.running = self.leaving = False


class Group:
    """All machines, the broker, and the deaths to come: pairs of a machine's name ("" is any) and a step.

    `meanwhile` holds what else happens once when a machine reaches a step.
    """

    def __init__(self, app: flows.App, deaths: list[tuple[str, str]] | None = None) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.loop = ManualLoop(self.clock)
        self.broker = MemoryBroker()
        self.plan = app.plan()
        self.decoders = table_decoders(self.plan)
        self.deaths = deaths or []
        self.died: list[tuple[str, str]] = []
        self.machines: dict[str, Machine] = {}
        self.meanwhile: dict[tuple[str, str], Callable[[], object]] = {}
        self._expiring: list[tuple[float, Machine, str]] = []
        for spec in topic_specs(self.plan):
            self.run(self.broker.create_topic(spec))

    def run(self, work: Any) -> Any:
        task = self.loop.run_to_end(work)
        assert task.done(), "it waits for something that never comes"
        return task.result()

    def dies(self, name: str, step: str) -> bool:
        """Tell whether this member dies here: deaths come one after the other, in their order."""
        if (name, step) in self.meanwhile:
            self.meanwhile.pop((name, step))()
        if not self.deaths or self.deaths[0][0] not in ("", name) or self.deaths[0][1] != step:
            return False
        self.died.append((name, step))
        del self.deaths[0]
        return True

    def start(self, name: str) -> Machine:
        machine = self.machines.setdefault(name, Machine(self, name))
        machine.start()
        return machine

    def settle(self) -> None:
        """Let time pass until all inputs are committed to their end; the dead come back when their lease is over."""
        for _ in range(_STRIDES):
            self.go_on()
            if not self._expiring and self._settled():
                return
            self.clock.advance(_STRIDE)
        raise AssertionError(f"it never settles; died so far: {self.died}")

    def pass_time(self, seconds: float) -> None:
        """Let everybody work while time passes."""
        for _ in range(round(seconds / _STRIDE)):
            self.go_on()
            self.clock.advance(_STRIDE)
        self.go_on()

    def go_on(self) -> None:
        """Let everybody work as far as they can without time passing."""
        self.loop.run_until_quiet()
        for machine in self.machines.values():
            if machine.running and machine.life.over:
                self.run(machine.bury())
                self._expiring.append((self.clock.monotonic() + LEASE, machine, machine.id))
        for due in [e for e in self._expiring if e[0] <= self.clock.monotonic()]:
            self._expiring.remove(due)
            self.broker.expel(self.plan.app, due[2])
            due[1].start()
        for machine in self.machines.values():
            assert not machine.running or machine.life.over or not machine.failures, machine.failures

    def _settled(self) -> bool:
        alive = [m for m in self.machines.values() if m.running]
        seats = {seat.member.id: seat for seat in self.broker._groups._groups.get(self.plan.app, [])}
        held = sorted(task for m in alive for task in m.runner.tasks)
        if not alive or sorted(seats) != sorted(m.id for m in alive) or held != sorted(alive[0].runner.inputs):
            return False
        if any(seats[m.id].holds != seats[m.id].target or m.leaving or not m.handover.settled for m in alive):
            return False
        return bool(self.run(is_drained(structs.replace(alive[0].env, broker=self.broker))))

    def close(self) -> None:
        for machine in self.machines.values():
            if machine.running:
                self.run(machine.bury())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()


async def _at_once(attempt: int) -> None:
    """Retry an agent without waiting."""
