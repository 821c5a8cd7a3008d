"""Who is alive in a group: the coordinator knows who, the members topic what they hold and where they are."""

from __future__ import annotations

import asyncio

from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.faults import Refused, check, fault
from flows.brokers.kafka.members import Entry, Members
from flows.brokers.kafka.membership_seat import ask_coordinator
from flows.brokers.kafka.membership_wire import DescribeGroup
from flows.brokers.kafka.retry import persist


class Listing:
    """Ask for the members of a group on behalf of many: who asks while an answer is under way share the next."""

    def __init__(self, cluster: Cluster, members: Members, group: str, seconds: float) -> None:
        self._asked = cluster, members, group, seconds
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[list[Entry]] | None = None

    async def entries(self) -> list[Entry]:
        """Return the live members' entries, as of now or later; raises `BrokerError`."""
        if self._next is None:
            self._next = asyncio.create_task(self._answer())
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be left to ask
        return await asyncio.shield(self._next)

    async def _answer(self) -> list[Entry]:
        async with self._turn:
            self._next = None
            return await list_members(*self._asked)


async def list_members(cluster: Cluster, members: Members, group: str, seconds: float) -> list[Entry]:
    """Return the entries of the live members; raises `BrokerError`."""
    live = await live_members(cluster, group, seconds)
    entries = (await members.read()).values() if live else ()
    return sorted((e for e in entries if live.get(e.id) == e.seat), key=lambda e: (e.since, e.id))


async def live_members(cluster: Cluster, group: str, seconds: float) -> dict[str, str]:
    """Return the seat of each live member, by its id, as the coordinator knows them; raises `BrokerError`."""
    doing = f"cannot list the members of group {group!r}"
    return await persist(doing, lambda: _live(cluster, group, seconds), seconds)


async def _live(cluster: Cluster, group: str, seconds: float) -> dict[str, str]:
    answer = await ask_coordinator(cluster, group, DescribeGroup(group), seconds, ("describe", group))
    (described,) = answer.groups
    try:
        check(described[0])
    except Refused as error:
        raise fault(error, f"cannot list the members of group {group!r}") from error
    return {instance: seat for seat, instance, *_ in described[5] if instance is not None}
