"""A chaos run: three brokers, three workers, events that tell what must come of them, and faults from one seed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.kafka.chaos.checks import check_tables, check_topics
from tests.kafka.chaos.events import Events
from tests.kafka.chaos.faults import Faults
from tests.kafka.chaos.feed import Feed
from tests.kafka.chaos.flow import done, events
from tests.kafka.chaos.places import places
from tests.kafka.chaos.schedule import Fault, make_schedule
from tests.kafka.chaos.watch import Pace, follow
from tests.kafka.chaos.workers import Failed, Fleet
from tests.kafka.cluster import Cluster
from tests.kafka.jvm import KafkaFailed

_WORKERS = 3
_STUCK = 120.0
_START = 180.0
_LOOK = 0.2


class Chaos(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is made of; `events` at `rate` a second, more of them where the faults take longer.

    Workers run with this `guarantee`, as static members or not, each task with so many warm copies (`standbys`).
    """

    seed: int
    events: int
    rate: float
    faults: int
    guarantee: str = "exactly_once"
    static: bool = False
    standbys: int = 0

    @property
    def settings(self) -> list[str]:
        """The settings of all its workers."""
        return [f"guarantee={self.guarantee}", f"standby_replicas={self.standbys}"]


class Report(msgspec.Struct):
    """What a run was like."""

    events: int
    seconds: float
    pace: Pace
    doubled: int

    def __str__(self) -> str:
        by_kind = defaultdict(list)
        for strike in self.pace.strikes:
            by_kind[strike.what].append(strike)
        lines = [
            f"{self.events} events in {self.seconds:.0f} s, {len(self.pace.strikes)} faults; {self._found}",
            f"longest time without progress: of a partition {self.pace.longest:.1f} s, "
            f"of all {self.pace.longest_silence:.1f} s",
            f"{'fault':<48} {'times':>5} {'a partition (median, longest)':>30} {'all (longest)':>14}",
        ]
        for kind, strikes in sorted(by_kind.items()):
            waits = sorted(s.waited for s in strikes)
            waited = f"{waits[len(waits) // 2]:.1f} s {waits[-1]:6.1f} s"
            lines.append(f"{kind:<48} {len(strikes):>5} {waited:>30} {max(s.silent for s in strikes):>12.1f} s")
        return "\n".join(lines)

    @property
    def _found(self) -> str:
        return f"nothing lost, {self.doubled} doubled" if self.doubled else "all exact"


async def run(chaos: Chaos, folder: Path) -> Report:
    """Carry out a run; raises `Failed` with the seed, the schedule, what is wrong and the logs' ends.

    1. Brokers, then workers, which make the topics.
    2. Events go in while faults befall both; what comes out is watched.
    3. No more events: all must come out, and a worker that drains must find the end.
    4. Topics, changelogs and the tables of running workers are compared; those without a worker too.
    """
    schedule = make_schedule(chaos.seed, chaos.events, chaos.faults)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(line, flush=True)

    say(f"seed {chaos.seed}")
    # 1
    with Cluster(folder / "kafka", 3) as cluster:
        fleet = Fleet(folder, cluster.url, chaos.settings, static=chaos.static)
        try:
            return await _run(chaos, cluster, fleet, Faults(cluster, fleet, pace := Pace(), say), schedule, pace)
        except* (Failed, KafkaFailed, OSError, TimeoutError, AssertionError) as group:
            errors = "\n".join(f"{type(e).__name__}: {e}" for e in _leaves(group))
            where = await places(cluster.bootstrap, fleet.active)
            told = [
                errors,
                "",
                f"consumers of the outputs: {dict(pace.consumers)}",
                *said,
                "",
                *map(str, schedule),
                "",
                *where,
                "",
                *_tails(fleet, cluster),
            ]
            raise Failed("\n".join(told)) from group
        finally:
            fleet.close()


async def _run(
    chaos: Chaos, cluster: Cluster, fleet: Fleet, faults: Faults, schedule: list[Fault], pace: Pace
) -> Report:
    for _ in range(_WORKERS):
        fleet.add()
    await topics_made(faults, fleet)
    # 2
    async with flowing(cluster, fleet, pace, chaos.seed, chaos.rate):
        await faults.run(schedule)
        await pace.until(lambda: pace.processed >= chaos.events)
        # 3
    seconds = pace.now
    await faults.healed()
    last = fleet.add("--drain")
    fleet.active.remove(last)
    await asyncio.to_thread(last.wait)
    # 4
    fleet.check()
    doubled = await check_all(cluster, fleet, may_double=chaos.guarantee == "at_least_once")
    return Report(pace.processed, seconds, pace, doubled)


async def topics_made(faults: Faults, fleet: Fleet) -> None:
    """Wait until the workers have made the topics of the flow."""
    async with asyncio.timeout(_START):
        while not {done.name, events.name} <= (await faults.partitions() or {}).keys():
            fleet.check()
            await asyncio.sleep(_LOOK)


@asynccontextmanager
async def flowing(cluster: Cluster, fleet: Fleet, pace: Pace, seed: int, rate: float) -> AsyncIterator[None]:
    """Let events come in and watch them come out; at the end no new ones, until all have come out.

    Raises `Failed` when a worker ends by itself, or nothing comes out for too long.
    """
    pace.begin()
    source = Events(seed)
    feed = Feed(cluster.bootstrap, source, rate, pace)
    async with asyncio.TaskGroup() as group:
        helpers = [
            group.create_task(follow(cluster.bootstrap, pace, feed.partition_of)),
            group.create_task(pace.keep_looking()),
        ]
        feeding = group.create_task(feed.run())
        helpers.append(group.create_task(_watch(fleet, pace, [*helpers, feeding])))
        yield
        source.finish()
        await feeding
        await pace.until(lambda: pace.processed >= pace.sent)
        for helper in helpers:
            helper.cancel()


async def check_all(cluster: Cluster, fleet: Fleet, *, may_double: bool = False) -> int:
    """Compare topics, changelogs and tables, those of the running workers and, having stopped them, what they left.

    Returns how many outputs are there twice, where that may be.
    """
    wanted = await check_topics(cluster.bootstrap, may_double=may_double)
    await asyncio.to_thread(check_tables, cluster.url, fleet.folder / "asked", wanted)
    for worker in list(fleet.active):
        fleet.active.remove(worker)
        await asyncio.to_thread(worker.stop)
    await asyncio.to_thread(check_tables, cluster.url, fleet.folder / "alone", wanted)
    return wanted.doubled


async def _watch(fleet: Fleet, pace: Pace, tasks: list[asyncio.Task[None]]) -> None:
    """Raise `Failed` when a worker ends by itself, or nothing comes out for too long."""
    while True:
        fleet.check()
        if any(task.cancelled() for task in tasks):  # which a group of tasks takes for a good end
            raise Failed("aiokafka has cancelled what used it")
        if pace.since > _STUCK:
            raise Failed(f"nothing came out for {_STUCK:g} s; {pace.sent} events went in, {pace.processed} came out")
        if pace.longest > _STUCK:
            raise Failed(f"a partition has stood still for {_STUCK:g} s: {pace.standing()}")
        await asyncio.sleep(_LOOK)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _tails(fleet: Fleet, cluster: Cluster) -> list[str]:
    tails = [f"--- {w.name}\n{w.tail()}" for w in fleet.all]
    return tails + [f"--- broker {b.node}\n{_last_lines(b.log)}" for b in cluster.brokers if b.log.exists()]


def _last_lines(path: Path) -> str:
    return "\n".join(path.read_text("utf-8", "replace").splitlines()[-15:])
