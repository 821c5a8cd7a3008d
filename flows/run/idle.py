"""Silence: when an input is idle, and how far time has moved since, for windows that wait for their end."""

from __future__ import annotations

from collections.abc import Mapping

from flows.brokers.base import Broker, TopicPartition
from flows.compile.branch import Branch
from flows.errors import BrokerUnavailable
from flows.operate.base import NO_TIME
from flows.source.rounds import InputRound
from flows.source.watermarks import is_quiet


class Silence:
    """Watch one input of a task.

    An input is idle once it was read to its end, not paused, for `idle_after` seconds. From then on time counts as
    having moved at the wall clock's rate since the silence began: it never jumps to the wall clock, and time during
    which no worker ran does not count.
    """

    def __init__(self, branch: Branch, idle_after: float) -> None:
        self._branch, self._idle_after = branch, idle_after
        self._since: float | None = None
        self._from = NO_TIME

    def broken(self) -> None:
        """Records came."""
        self._since = None
        self._branch.quiet, self._branch.asleep = 0, False
        self._branch.source.watermark.idle = False
        self._branch.expiries.wake(self._branch.source.tp)

    def observe(self, now: float) -> bool:
        """Learn that the input is at its end; tell whether that changes anything worth a commit."""
        source = self._branch.source
        mark = source.watermark
        if source.producers and not is_quiet(mark, source.producers):
            self._since = None
            return False
        if self._since is None:
            self._since = now
            self._from = max(mark.time, mark.advanced)
        if now - self._since < self._idle_after:
            return False
        became_idle = not mark.idle
        mark.idle, self._branch.asleep = True, False
        self._branch.quiet = round((now - self._since) * 1_000_000)
        return self._close() or (became_idle and self._branch.is_watched)

    @property
    def is_idle(self) -> bool:
        return self._branch.is_idle

    def due(self) -> float | None:
        """Return when the input becomes idle, if it stays silent."""
        return None if self._since is None else self._since + self._idle_after

    def _close(self) -> bool:
        if self._from == NO_TIME:
            return False
        reached = self._from + self._branch.quiet
        branch, tp = self._branch, self._branch.source.tp
        if not branch.expiries.would_close(tp, reached) and not branch.would_close(reached):
            return False
        branch.expiries.move(tp, reached)
        self._branch.source.watermark.advanced = reached
        self._branch.let_pass(reached)
        return True


def wake(silences: Mapping[TopicPartition, Silence], taken: InputRound, most: int) -> int:
    """Return how much of a round can be taken at once, and wake its inputs.

    One that is idle counts for nothing until its first record: the round is cut there.
    """
    for records, turns in taken.parts:
        if turns[0] and silences[records.tp].is_idle:
            most = min(most, int(turns[0]))
    for records, turns in taken.parts:
        if turns[0] < most:
            silences[records.tp].broken()
    return most


_CHECKS = 5
"""How often in `idle_after` an idle input is looked at again."""


class IdleMarkers:
    """Tell a repartition topic again and again that this input is idle, for as long as somebody can need it.

    `flows.source.watermarks.hear_marker` says why once is not enough. Each marker follows a look at the broker: the
    input's end is where it was read to. When the other partitions of the input have not moved since the last marker
    but one, nobody has gone on, and no more are written.
    """

    def __init__(self, branch: Branch, broker: Broker, tp: TopicPartition, partitions: int, idle_after: float) -> None:
        self._branch, self._broker, self._tp = branch, broker, tp
        self._all = [TopicPartition(tp.topic, partition) for partition in range(partitions)]
        self._every = idle_after / _CHECKS
        self._next: float | None = None
        self._told: dict[TopicPartition, int] | None = None
        self._confirmed = False

    async def observe(self, now: float, position: int) -> bool:
        """Learn that the input is read to `position`; tell whether the next commit has a marker to write."""
        if not self._branch.has_writers or not self._branch.source.watermark.idle:
            self._next, self._told, self._confirmed = None, None, False
            return False
        if self._next is None:  # its first marker is about to be written, or was just now
            self._next = now + self._every
            return False
        if now < self._next:
            return False
        self._next = now + self._every
        try:
            ends = await self._broker.end_offsets(self._all)
        except BrokerUnavailable:
            return False  # not known to be silent: time waits
        if position < ends[self._tp] or (self._confirmed and ends == self._told):
            return False
        self._confirmed, self._told = ends == self._told, ends
        self._branch.mark_all_again()
        return True

    def due(self) -> float | None:
        """Return when to look again; once nobody goes on, the next occasion will do."""
        return None if self._confirmed else self._next
