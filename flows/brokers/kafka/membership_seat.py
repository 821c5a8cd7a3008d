"""A member's place at the group's coordinator: the exchanges of Kafka's group protocol, one at a time.

aiokafka's own consumer is not used for it: it sends heartbeats without the instance id, so two holders of one id would
throw each other out for ever; joins again in silence after it lost its place, with whatever the caller still does; and
gives up all partitions in each round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Mapping
from typing import Any

from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

from flows.brokers.kafka.cluster import GROUP, Cluster
from flows.brokers.kafka.faults import BUSY, MOVED, Lost, Refused, check, fault
from flows.brokers.kafka.membership_said import FORMAT
from flows.brokers.kafka.membership_wire import (
    PROTOCOL_TYPE,
    GroupCode,
    Heartbeat,
    LeaveGroup,
)
from flows.errors import BrokerError, Fenced, Replaced

_LEAST_ANSWER = 1.0  # seconds that a request may always take
_ROUND_MS = 300_000


class NewRound(Exception):
    """The group begins a new round; join it."""


class Seat:
    """The place of one member. Every member is a static one, its instance id being its id in the group.

    All methods raise `Lost` where the coordinator cannot be reached now (try again), `Fenced` where the place is lost,
    `Replaced` where another process has taken it, and `BrokerError` where trying again is of no use.
    """

    def __init__(self, cluster: Cluster, group: str, instance: str, lease: float) -> None:
        self.group, self.instance, self.lease = group, instance, lease
        self.generation = -1
        self.id = ""
        self.confirmed = float("-inf")
        self._cluster = cluster
        self._lane, self._beside = ((name, group, instance, id(self)) for name in ("member", "member, beside"))

    def through(self, cluster: Cluster) -> Seat:
        """Return the same place, seen through other connections."""
        seat = Seat(cluster, self.group, self.instance, self.lease)
        seat.generation, seat.id = self.generation, self.id
        return seat

    @property
    def lapsed(self) -> bool:
        """Tell whether so much time has passed since the coordinator confirmed the place that it may be lost."""
        return time.monotonic() - self.confirmed > self.lease

    async def join(self, metadata: bytes) -> dict[str, bytes] | None:
        """Join the next round with what this member says. Return what all say if this one leads, else None.

        Waits until all members have joined, or the lease of those that do not has run out. A member whose event loop is
        busy keeps its lease (`membership_pulse`), and is waited for; nothing else waits for the round.
        """
        session = round(self.lease * 1000)
        request = JoinGroupRequest(
            self.group, session, _ROUND_MS, self.id, self.instance, PROTOCOL_TYPE, [(FORMAT, metadata)]
        )
        answer = await self._ask(request, _ROUND_MS / 1000)
        self.generation, self.id = answer.generation_id, answer.member_id
        if answer.leader_id != answer.member_id:
            return None
        return {member: said for member, _, said in answer.members}

    async def sync(self, told: Mapping[str, bytes]) -> bytes:
        """Give (the leader) and get what each member is told; raises `NewRound`."""
        request = SyncGroupRequest(self.group, self.generation, self.id, self.instance, list(told.items()))
        answer = await self._ask(request, self.lease)
        return bytes(answer.member_assignment)

    async def beat(self, *, beside: bool = False) -> None:
        """Renew the lease, or confirm it `beside` another exchange that waits; raises `NewRound`."""
        lane = self._beside if beside else self._lane
        await self._ask(Heartbeat(self.group, self.generation, self.id, self.instance), self.lease / 3, lane)

    async def leave(self) -> None:
        """Give the place up, so that its tasks go to others at once."""
        # A join that waits holds up its connection. Without an id yet, though, this must come after it.
        lane = self._beside if self.id else self._lane
        answer = await self._ask(LeaveGroup(self.group, self.id, self.instance), self.lease / 3, lane)
        for _, _, code in answer.members:
            if code != GroupCode.UNKNOWN_MEMBER_ID:  # gone already
                await self._check(code)

    def close(self) -> None:
        """Close the connection that only this place uses."""
        self._cluster.leave(self._lane)
        self._cluster.leave(self._beside)

    async def _ask(self, request: Any, seconds: float, lane: Hashable | None = None) -> Any:
        asked = time.monotonic()
        answer = await ask_coordinator(self._cluster, self.group, request, seconds, lane or self._lane)
        try:
            await self._check(answer.error_code)
        except NewRound:
            self.confirmed = asked
            raise
        self.confirmed = asked
        return answer

    async def _check(self, code: int) -> None:
        match code:
            case GroupCode.REBALANCE_IN_PROGRESS:
                raise NewRound
            case GroupCode.UNKNOWN_MEMBER_ID | GroupCode.ILLEGAL_GENERATION:
                raise Fenced(
                    f"member {self.instance!r} has lost its place in group {self.group!r}: its lease "
                    f"of {self.lease:g} s ran out (the process was stopped, too busy, or could not reach the brokers)",
                    fix="drop its tasks and join again; raise the setting lease if that happens in normal work",
                )
            case GroupCode.FENCED_INSTANCE_ID:
                raise Replaced(
                    f"member {self.instance!r} of group {self.group!r} was replaced: another process joined with "
                    "the same id",
                    fix="give each process an instance_id of its own",
                )
            case GroupCode.INCONSISTENT_GROUP_PROTOCOL:
                raise BrokerError(
                    f"group {self.group!r} has members that are no workers of Flows, or of another version",
                    fix="stop them, or give the app an id that no other consumer group has",
                )
            case GroupCode.INVALID_SESSION_TIMEOUT:
                raise BrokerError(
                    f"the brokers refuse a lease of {self.lease:g} s",
                    fix="choose one between their group.min.session.timeout.ms and group.max.session.timeout.ms",
                )
            case GroupCode.GROUP_MAX_SIZE_REACHED:
                raise BrokerError(
                    f"group {self.group!r} is full", fix="raise group.max.size of the brokers, or run fewer workers"
                )
        try:
            check(code)
        except Refused as error:
            raise fault(error, f"cannot take part in group {self.group!r}") from error


async def ask_coordinator(cluster: Cluster, group: str, request: Any, seconds: float, lane: Any) -> Any:
    """Send a request to a group's coordinator; raises `Lost` where there is none now, or it does not answer in time."""
    try:
        node = await cluster.coordinator(GROUP, group)
    except Refused as error:
        if not error.retriable:
            raise fault(error, f"cannot find the coordinator of group {group!r}") from error
        raise Lost(f"group {group!r} has no coordinator now ({error})") from error
    try:
        async with asyncio.timeout(max(seconds, _LEAST_ANSWER)):
            answer = await cluster.send(node, request, lane)
    except TimeoutError:
        cluster.drop(node, lane)
        cluster.moved(GROUP, group)
        raise Lost(f"the coordinator of group {group!r} did not answer within {seconds:g} s") from None
    except Lost:
        cluster.moved(GROUP, group)
        raise
    code = answer.groups[0][0] if hasattr(answer, "groups") else answer.error_code
    if code in MOVED or code in BUSY:
        if code in MOVED:
            cluster.moved(GROUP, group)
        raise Lost(f"the coordinator of group {group!r} has moved or is loading the group (Kafka error {code})")
    return answer
