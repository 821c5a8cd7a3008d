"""This worker's place in a Kafka consumer group, as the engine sees it in the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from flows.brokers.base import Member, TaskInputs
from flows.brokers.kafka.assignor import CAUGHT_UP
from flows.brokers.kafka.assignor_rounds import deal
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.faults import Lost
from flows.brokers.kafka.members import Entry, Members
from flows.brokers.kafka.membership_attend import Attendance
from flows.brokers.kafka.membership_inputs import watch_inputs
from flows.brokers.kafka.membership_list import Listing, live_members
from flows.brokers.kafka.membership_pulse import Pulse
from flows.brokers.kafka.membership_said import Said, pack_said, pack_told, plain, unpack_said, unpack_told
from flows.brokers.kafka.membership_seat import NewRound, Seat
from flows.brokers.kafka.membership_tasks import Tasks
from flows.brokers.kafka.txn_wire import Standing
from flows.errors import BrokerError, BrokerUnavailable, OutcomeUnknown

log = logging.getLogger(__name__)

_PAUSE = 0.2
_TELLING = 2.0


class KafkaMembership:
    """A `Membership`; made by `KafkaGroups.join`.

    Tasks go on through a round of the group. What moves is finished and released by its holder first, and given to the
    next in another round (`assignor_rounds`). `static` members keep their tasks when they leave, for their lease.
    """

    def __init__(
        self,
        cluster: Cluster,
        members: Members,
        seat: Seat,
        tasks: TaskInputs,
        *,
        address: str = "",
        plan: str = "",
        static: bool = False,
        standbys: int = 0,
        lags: Mapping[str, int] | None = None,
    ) -> None:
        self.seat = seat
        self._cluster, self._members = cluster, members
        self._listing = Listing(cluster, members, seat.group, seat.lease)
        self._inputs = plain(tasks)
        self._address, self._plan, self._static, self._copies = address, plan, static, standbys
        self._lags = dict(lags or {})
        self._tasks = Tasks(plan)
        self._attendance = Attendance(seat, self._round)
        self._pulse = Pulse(cluster.connection, seat)
        self._published: frozenset[str] | None = None
        self._since = self._turn = self._seen = 0
        self._ran = ""
        self._error: BaseException | None = None
        self._left = False
        self._changed, self._news = asyncio.Event(), asyncio.Event()
        self._jobs: list[asyncio.Task[None]] = []

    @property
    def generation(self) -> int:
        """Return the generation of the group that this member last took part in."""
        return self._seen

    @property
    def standbys(self) -> frozenset[str]:
        """Return the tasks that this member should keep a warm copy of; a change wakes `assignment`."""
        return self._tasks.standbys

    async def start(self) -> None:
        """Take part in a first round, and attend to the group from then on; raises `BrokerError`."""
        await self._attendance.begin()
        for work in (self._attendance.go_on(), self._publish(), watch_inputs(self._cluster, self._inputs)):
            job = asyncio.create_task(work, name=f"group {self.seat.group}")
            job.add_done_callback(self._ended)
            self._jobs.append(job)
        self._pulse.start()

    async def assignment(self) -> frozenset[str]:
        """Wait for the next change and return the tasks that this member should hold from now on.

        The first call returns what is there, be it nothing. Raises `Fenced` when the place in the group was lost,
        `Replaced` when another process has taken it, `TopicMismatch` when an input has other partitions now.
        """
        while True:
            self._changed.clear()
            self.check()
            if self._published is not None and (news := self._tasks.news(self._published)) is not None:
                return news
            await self._changed.wait()

    async def release(self, tasks: Iterable[str]) -> None:
        """Hand tasks back after their last commit. One that should stay here is assigned anew."""
        self.check()
        if self._tasks.release(tasks):
            self._want_round()
            self._news.set()
        self._changed.set()

    async def report(self, lags: Mapping[str, int]) -> None:
        """Tell how many records the state that is kept here lacks, by task: 0 of a task that runs and is restored."""
        self.check()
        if lags != self._lags:
            self._lags = dict(lags)
            self._news.set()
            if self._tasks.caught_up(task for task, lag in lags.items() if lag <= CAUGHT_UP):
                self._want_round()

    async def members(self) -> list[Member]:
        """Return the live members and what they hold; without this one if its place is lost.

        The coordinator confirms both, so that nothing is done on the word of a process that was away. Raises
        `BrokerUnavailable` when it cannot.
        """
        if self._error is None:
            await self._attendance.confirm()
        others = [entry for entry in await self._listing.entries() if entry.id != self.seat.instance]
        own = [] if self._error else [self._entry()]
        return [e.as_member() for e in sorted(others + own, key=lambda e: (e.since, e.id))]

    async def confirm(self) -> None:
        """Return when the place is this member's by its clock, asking the coordinator if its lease may have run out."""
        if self.seat.lapsed and self._error is None:
            await self._attendance.confirm()
        if not self._left:
            self.check()

    async def live(self) -> set[str]:
        """Return the ids of all members that the coordinator counts as alive; raises `BrokerUnavailable`."""
        return set(await live_members(self._cluster, self.seat.group, self.seat.lease))

    def standing(self) -> Standing:
        """Tell as whom this member writes positions, in the generation of now; raises where its place is lost."""
        self.check()
        return Standing(self.seat.generation, self.seat.id, self.seat.instance)

    def check(self) -> None:
        """Raise what cost this member its place, if something has."""
        if self._error is not None:
            raise self._error

    async def leave(self) -> None:
        """Hand everything back and leave the group; does nothing the second time.

        A static member is only gone: its tasks wait for it until its lease runs out.
        """
        self._left = True
        if self._error is None:
            self._fail(BrokerError("this member has left the group", fix="join again"))
            await self._stop()
            await self._give_up()
        await self._stop()

    # The group

    async def _round(self) -> None:
        """Take part in one round.

        1. Say what this member holds; wait until all have joined.
        2. The leader deals out the tasks.
        3. Hear what this member is told.
        """
        # 1
        said = await self.seat.join(pack_said(self._said()))
        # 2
        told = {} if said is None else await self._deal(said)
        # 3
        answer = unpack_told(await self.seat.sync(told))
        self._seen = self.seat.generation
        self._since = self._since or self._seen
        self._ran = answer.plan if answer is not None else self._ran
        if self._tasks.take(answer):
            self._want_round()
        self._news.set()

    async def _deal(self, said: Mapping[str, bytes]) -> dict[str, bytes]:
        """Deal out the tasks as the leader."""
        known = {seat: unpack_said(one) for seat, one in said.items()}
        told = await asyncio.to_thread(deal, known)
        inputs = {task: found for one in known.values() for task, found in one.tasks.items()}
        # Before the round ends: a member that comes back later cannot have written its new entry yet.
        await self._members.forget_all_but({one.member for one in known.values()}, _PAUSE)
        return {seat: pack_told(one, inputs) for seat, one in told.items()}

    def _said(self) -> Said:
        return Said(
            member=self.seat.instance,
            plan=self._plan,
            tasks=self._inputs,
            owned=sorted(self._tasks.held),
            lags=self._lags,
            standbys=self._copies,
            since=self._since,
            seen=self._seen,
            ran=self._ran,
            turn=self._turn,
        )

    def _want_round(self) -> None:
        self._turn += 1
        self._attendance.want_round()

    # What others know

    async def _publish(self) -> None:
        """Write this member's entry at each change, then pass the tasks on; at once where the writing takes long."""
        written: Entry | None = None
        troubled = False
        while True:
            await self._news.wait()
            self._news.clear()
            entry, target = self._entry(), self._tasks.target
            try:
                async with asyncio.timeout(_TELLING):
                    if entry != written:
                        await self._members.tell(entry)
                written, troubled = entry, False
            except (BrokerUnavailable, OutcomeUnknown, TimeoutError) as error:
                if not troubled:
                    log.warning("group %s: others cannot be told of this member: %r", self.seat.group, error)
                troubled = True
                self._news.set()
            self._published = target
            self._changed.set()
            if troubled:
                await asyncio.sleep(_PAUSE)

    def _entry(self) -> Entry:
        return Entry(
            id=self.seat.instance,
            seat=self.seat.id,
            since=self._since,
            address=self._address,
            plan=self._plan,
            tasks=tuple(sorted(self._tasks.held)),
            lags=self._lags,
        )

    # The end

    def _ended(self, job: asyncio.Task[None]) -> None:
        error = None if job.cancelled() else job.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            self._tasks.lose()
        self._attendance.end()
        self._pulse.end()
        self._changed.set()

    async def _stop(self) -> None:
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        self._jobs = []

    async def _give_up(self) -> None:
        try:
            if not self._static:
                await self.seat.leave()
            await self._members.remove([self.seat.instance])
        except (Lost, NewRound, BrokerError) as error:
            log.warning("group %s: %s; the place is free when the lease has run out", self.seat.group, error)
        finally:
            self.seat.close()
            await self._members.close()
