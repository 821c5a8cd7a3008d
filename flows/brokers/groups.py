"""What the engine needs of a broker's groups: members that share named tasks, each of which reads some partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec


class TopicPartition(NamedTuple):
    """One partition of a topic; printed as `topic/partition`."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


TaskInputs = Mapping[str, Sequence[TopicPartition]]
"""The tasks of a group by id, each with the partitions it reads: none for a source or a timer."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the others of its group see it.

    `expires_in` is after how many seconds it loses its tasks if it stays silent; None where the broker does not tell.
    """

    id: str
    address: str = ""
    plan: str = ""
    tasks: tuple[str, ...] = ()
    expires_in: float | None = None


class Membership(Protocol):
    """This worker's place in a group that shares named tasks."""

    @property
    def generation(self) -> int:
        """Return the generation of the group that this member last took part in."""

    @property
    def standbys(self) -> frozenset[str]:
        """Return the tasks whose state this member should keep warm without running them; never its own.

        A change wakes `assignment`. Always empty where members share a disk.
        """

    async def assignment(self) -> frozenset[str]:
        """Wait for the next change and return the tasks that this member should hold from now on.

        Tasks that are new in it belong to this member at once. Tasks that left it are still this member's
        until it calls `release`, or its lease runs out; those that came and left between two calls are not.
        Raises `Fenced` when the lease was lost.
        """

    async def release(self, tasks: Iterable[str]) -> None:
        """Hand tasks back after their last commit. One that should stay here is assigned anew."""

    async def report(self, lags: Mapping[str, int]) -> None:
        """Tell how many records the state that is kept here lacks, by task: 0 of one that runs and is restored.

        Tasks that are left out have no state here. A task goes to whose state is nearest to its end; one whose state is
        complete somewhere stays there until its next holder, told so by `standbys`, has reported that it caught up.
        """

    async def members(self) -> list[Member]:
        """Return the live members and what they hold."""

    async def leave(self) -> None:
        """Hand everything back and leave the group."""
