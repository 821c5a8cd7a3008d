"""The groups of a cluster that this process takes part in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from flows.brokers.base import Member, TaskInputs
from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.members import Members, Topics
from flows.brokers.kafka.membership import KafkaMembership
from flows.brokers.kafka.membership_list import list_members
from flows.brokers.kafka.membership_seat import Seat
from flows.clock import Clock

_LIST_SECONDS = 10.0


class KafkaGroups:
    """Join groups, and list their members. A member whose id is `instance_id` is a static one."""

    def __init__(
        self, cluster: Cluster, topics: Topics, clock: Clock, *, lease: float, instance_id: str | None = None
    ) -> None:
        self._cluster, self._topics, self._clock = cluster, topics, clock
        self._lease, self._instance_id = lease, instance_id
        self._joined: dict[str, KafkaMembership] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def join(
        self,
        group: str,
        member_id: str,
        tasks: TaskInputs,
        *,
        address: str = "",
        plan: str = "",
        standbys: int = 0,
        lags: Mapping[str, int] | None = None,
    ) -> KafkaMembership:
        """Take a place in a group; an earlier member of the same id is replaced. Raises `BrokerError`."""
        # What is left of an earlier try would remove this one's entry from the members topic.
        await asyncio.gather(*self._ending, return_exceptions=True)
        members = Members(self._topics, group, self._clock)
        await members.create()
        membership = KafkaMembership(
            self._cluster,
            members,
            Seat(self._cluster, group, member_id, self._lease),
            tasks,
            address=address,
            plan=plan,
            static=member_id == self._instance_id,
            standbys=standbys,
            lags=lags,
        )
        try:
            await membership.start()
        except BaseException:
            # It may have a place already, and nobody would ever leave.
            ending = asyncio.create_task(membership.leave())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            raise
        self._joined[group] = membership
        return membership

    def joined(self, group: str) -> KafkaMembership | None:
        """Return this process's place in a group, the last it had; None where it never joined."""
        return self._joined.get(group)

    async def members(self, group: str) -> list[Member]:
        """Return the live members of a group, without joining it; raises `BrokerError`."""
        members = Members(self._topics, group, self._clock)
        try:
            return [e.as_member() for e in await list_members(self._cluster, members, group, _LIST_SECONDS)]
        finally:
            await members.close()

    async def confirm(self) -> None:
        """Return when all places of this process are its own by its clock, asking the coordinator if need be.

        Raises `Fenced` when one was lost, `BrokerUnavailable` when the coordinator does not tell.
        """
        for membership in list(self._joined.values()):
            await membership.confirm()

    async def close(self) -> None:
        """Leave all groups."""
        await asyncio.gather(*(membership.leave() for membership in self._joined.values()))
        await asyncio.gather(*self._ending, return_exceptions=True)
