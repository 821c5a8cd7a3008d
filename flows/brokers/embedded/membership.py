"""This worker's place in a group, as the engine sees it in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from uuid import uuid4

from flows.brokers.base import Member
from flows.brokers.embedded import leases
from flows.brokers.embedded.keeper import Held, Keeper
from flows.brokers.embedded.leases import Applicant, Seat, View
from flows.errors import BrokerError


class EmbeddedMembership:
    """A `Membership`; made by `join`."""

    standbys: frozenset[str] = frozenset()

    def __init__(self, keeper: Keeper, seat: Seat, lease: float) -> None:
        self.generation = 0
        self._keeper = keeper
        self._held = Held(seat, lease, self._show, self._fail)
        self._tasks: frozenset[str] = frozenset()
        self._leaving: frozenset[str] = frozenset()
        self._told: frozenset[str] | None = None
        self._unreleased: set[str] = set()
        self._error: BrokerError | None = None
        self._changed = asyncio.Event()

    async def assignment(self) -> frozenset[str]:
        """Wait for the next change and return the tasks that this member should hold from now on.

        The first call returns what is there, be it nothing. Raises `Fenced` when the lease was lost.
        """
        while True:
            self._changed.clear()
            if self._error is not None:
                raise self._error
            if unseen := self._leaving - self._unreleased:
                await self._keeper.release(self._held, list(unseen))
                continue
            if self._tasks != self._told:
                self._told = self._tasks
                self._unreleased |= self._tasks
                return self._tasks
            await self._changed.wait()

    async def release(self, tasks: Iterable[str]) -> None:
        """Hand tasks back after their last commit. One that should stay here is assigned anew."""
        tasks = list(tasks)
        self._check()
        await self._keeper.release(self._held, tasks)
        self._unreleased -= set(tasks)
        if self._told is not None:
            self._told -= set(tasks)
            self._changed.set()

    async def report(self, lags: Mapping[str, int]) -> None:
        """Do nothing: whoever holds a task next finds its state on the same disk."""
        self._check()

    async def members(self) -> list[Member]:
        """Return the live members and what they hold."""
        return await group_members(self._keeper, self._held.seat.team)

    async def leave(self) -> None:
        """Hand everything back and leave the group; does nothing the second time."""
        if self._error is None:
            await self._keeper.leave(self._held)
            self._fail(BrokerError("this member has left the group", fix="join again"))

    def _show(self, view: View) -> None:
        self.generation, self._tasks, self._leaving = view
        self._changed.set()

    def _fail(self, error: BrokerError) -> None:
        if self._error is None:
            self._error = error
        self._changed.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


async def join_group(
    keeper: Keeper, group: str, member_id: str, tasks: Iterable[str], *, address: str, plan: str, lease: float
) -> EmbeddedMembership:
    """Join a group; an earlier member of the same id is fenced."""
    seat = Seat(group, member_id, uuid4().hex)
    membership = EmbeddedMembership(keeper, seat, lease)
    try:
        await keeper.join(Applicant(seat, tuple(tasks), address, plan, lease), membership._held)
    except asyncio.CancelledError:
        keeper.abandon(membership._held)  # it may have joined already, and nobody would ever leave
        raise
    return membership


async def group_members(keeper: Keeper, group: str) -> list[Member]:
    """Return the live members of a group."""
    return await keeper.ask(f"list the members of group {group!r}", lambda db: leases.members(db, group, keeper.now()))
