"""Groups of the broker in memory: members share tasks evenly, and keep what they have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import msgspec

from flows.brokers.base import Member
from flows.errors import Fenced


class MemoryGroups:
    """All groups of one broker."""

    def __init__(self) -> None:
        self._groups: dict[str, list[MemoryMembership]] = {}
        self._generation = 0

    def join(self, group: str, member: Member, tasks: Iterable[str]) -> MemoryMembership:
        self.expel(group, member.id)
        membership = MemoryMembership(self, group, member, sorted(tasks))
        self._groups.setdefault(group, []).append(membership)
        self.share(group)
        return membership

    def members(self, group: str) -> list[Member]:
        return [msgspec.structs.replace(m.member, tasks=tuple(sorted(m.holds))) for m in self._groups.get(group, [])]

    def drop(self, group: str, membership: MemoryMembership) -> None:
        if membership in self._groups.get(group, []):
            self._groups[group].remove(membership)
            self.share(group)

    def expel(self, group: str, member_id: str) -> None:
        for membership in [m for m in self._groups.get(group, []) if m.member.id == member_id]:
            membership.lose()
            self.drop(group, membership)

    def share(self, group: str) -> None:
        """Give each member of the oldest plan its share; a task moves once its holder has released it."""
        members = [m for m in self._groups[group] if m.member.plan == self._groups[group][0].member.plan]
        if not members:
            return
        self._generation += 1
        tasks = members[0].tasks
        most = -(-len(tasks) // len(members))
        for m in self._groups[group]:
            wanted = sorted(m.holds)[:most] if m in members else []
            m.wants(frozenset(wanted), self._generation)
        held = {t for m in self._groups[group] for t in m.holds}
        free = [t for t in tasks if t not in held]
        for m in sorted(members, key=lambda m: len(m.target)):
            room = most - len(m.target)
            mine, free = free[:room], free[room:]
            if mine:
                m.holds.update(mine)
                m.wants(m.target | frozenset(mine), self._generation)


class MemoryMembership:
    """One member; see `flows.brokers.base.Membership`."""

    standbys: frozenset[str] = frozenset()

    def __init__(self, groups: MemoryGroups, group: str, member: Member, tasks: list[str]) -> None:
        self._groups, self._group = groups, group
        self.member, self.tasks = member, tasks
        self.generation = 0
        self.holds: set[str] = set()
        self.target: frozenset[str] = frozenset()
        self._told: frozenset[str] | None = None
        self._unreleased: set[str] = set()
        self._lost = False
        self._changed = asyncio.Event()
        self._changed.set()

    def wants(self, target: frozenset[str], generation: int) -> None:
        self.generation = generation
        if target != self.target:
            self.target = target
            self._changed.set()

    async def assignment(self) -> frozenset[str]:
        while True:
            await self._changed.wait()
            self._check()
            self._changed.clear()
            if unseen := self.holds - self.target - self._unreleased:
                self.holds -= unseen
                self._groups.share(self._group)
            if self.target != self._told:
                self._told = self.target
                self._unreleased |= self.target
                return self.target

    async def release(self, tasks: Iterable[str]) -> None:
        self._check()
        self.holds.difference_update(tasks)
        self._unreleased.difference_update(tasks)
        self._told = None if self._told is None else self._told.difference(tasks)
        self._groups.share(self._group)

    async def report(self, lags: Mapping[str, int]) -> None:
        self._check()

    async def members(self) -> list[Member]:
        return self._groups.members(self._group)

    def lose(self) -> None:
        """Learn that others have this member's place."""
        self._lost = True
        self.holds.clear()
        self._changed.set()

    def _check(self) -> None:
        if self._lost:
            raise Fenced(f"member {self.member.id!r} has lost its place in group {self._group!r}", fix="join again")

    async def leave(self) -> None:
        self.holds.clear()
        self._groups.drop(self._group, self)
