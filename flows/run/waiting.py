"""Whom a worker waits for, while it holds less than its share: said in the log, so that nobody wonders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from flows.brokers.base import Member, Membership
from flows.errors import BrokerError
from flows.run.environment import Environment

log = logging.getLogger("flows.worker")

_LOOK = 0.5


async def tell_waiting(
    env: Environment, membership: Callable[[], Membership | None], me: str, plan: str, tasks: Collection[str]
) -> None:
    """Log whom this member waits for, each time that this changes, until cancelled."""
    told: list[tuple[str, str]] = []
    while True:
        await asyncio.sleep(_LOOK)
        joined = membership()
        try:
            found = [] if joined is None else waits_for(me, plan, tasks, await joined.members())
        except BrokerError:
            continue  # `Handover.follow` meets and tells the same
        for key, line in found:
            if key not in [k for k, _ in told]:
                log.info("%s", line)
        told = found


def waits_for(me: str, plan: str, tasks: Collection[str], members: Sequence[Member]) -> list[tuple[str, str]]:
    """Return a line for each member that holds what this one should have, with the id that tells lines apart.

    >>> old = Member(id="host-7", address="http://127.0.0.1:6066", plan="1", tasks=("orders/0",))
    >>> waits_for("me", "2", ["orders/0"], [old, Member(id="me", plan="2")])[0][1]
    'waits until host-7 (http://127.0.0.1:6066) has left: it runs another version of the plan and holds 1 task'
    """
    mine = next((m for m in members if m.id == me), None)
    if mine is None:
        return []
    others = [m for m in members if m.id != me]
    if not mine.tasks and any(m.plan != plan and m.tasks for m in others):
        return [
            (m.id, f"waits until {_name(m)} has left: it runs another version of the plan and holds {_count(m.tasks)}")
            for m in others
            if m.plan != plan and m.tasks
        ]
    alike = [m for m in members if m.plan == plan]
    share = len(tasks) // max(1, len(alike))
    if len(mine.tasks) >= share:
        return []
    return [
        (m.id, f"waits for {share - len(mine.tasks)} of its tasks: {_name(m)} still holds {_count(m.tasks)}{_until(m)}")
        for m in others
        if len(m.tasks) > share
    ]


def _name(member: Member) -> str:
    return f"{member.id} ({member.address})" if member.address else member.id


def _count(tasks: Sequence[str]) -> str:
    return f"{len(tasks)} task{'' if len(tasks) == 1 else 's'}"


def _until(member: Member) -> str:
    if member.expires_in is None:
        return ""
    return f"; if it is gone, they come in {member.expires_in:.0f} s at most"
