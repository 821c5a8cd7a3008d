"""Which tasks a member holds, should hold, and has passed on to the engine: what a membership decides, without I/O."""

from __future__ import annotations

from collections.abc import Iterable

from flows.brokers.kafka.membership_said import Told


class Tasks:
    """The tasks of one member.

    `held` are its own: nobody else is given them before it says that it let go. `target` are those that it should hold.
    """

    def __init__(self, plan: str) -> None:
        self.held: frozenset[str] = frozenset()
        self.target: frozenset[str] = frozenset()
        self.standbys: frozenset[str] = frozenset()
        self.warming: frozenset[str] = frozenset()
        self._plan = plan
        self._running: frozenset[str] = frozenset()  # passed on to the engine, and not released since
        self._passed_on: tuple[frozenset[str], frozenset[str]] | None = None

    def take(self, told: Told | None) -> bool:
        """Take in what the leader tells; return whether there must be another round.

        That is when the leader did not know this member, or knew another process of this id, which had another plan or
        held tasks that this one does not run.
        """
        if told is None or told.waiting != (told.plan != self._plan):
            return True
        self.target = frozenset(told.tasks)
        self.standbys, self.warming = frozenset(told.standbys), frozenset(told.warming)
        idle = self.held - self._running - self.target
        stale = frozenset(told.leaving) - (self.held - idle)
        self.held = (self.held - idle) | self.target
        return bool(stale)

    def release(self, tasks: Iterable[str]) -> bool:
        """Take tasks back from the engine; return whether others wait for any of them.

        One that should stay here is passed on anew, without a round: a static member that stops keeps its tasks.
        """
        tasks = frozenset(tasks)
        free = (self.held & tasks) - self.target
        self.held -= free
        self._running -= tasks
        if self._passed_on is not None:
            self._passed_on = (self._passed_on[0] - tasks, self._passed_on[1])
        return bool(free)

    def caught_up(self, tasks: Iterable[str]) -> bool:
        """Note that copies are complete; return whether the group waits for any of them."""
        awaited = self.warming & frozenset(tasks)
        self.warming -= awaited
        return bool(awaited)

    def news(self, published: frozenset[str]) -> frozenset[str] | None:
        """Return the tasks to pass on to the engine if they or the copies have changed, else None.

        Only those are passed on that all have been told of.
        """
        now = (self.target & published, self.standbys)
        if now == self._passed_on:
            return None
        self._passed_on = now
        self._running |= now[0]
        return now[0]

    def lose(self) -> None:
        """Hold nothing any more."""
        self.held = self.target = self.standbys = self.warming = frozenset()
