"""Ask all who hold a part of a table, and say what could not be had.

1. The group tells who holds each partition.
2. All holders are asked at once, each for its partitions only: one that lost some and does not know it yet, as a
   stopped process, is not asked for those.
3. What one does not have any more, or could not be asked for, is looked up anew, and a new holder is asked once.
4. What is still lacking is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from flows.brokers.base import Member
from flows.query.base import Missing, note_missing
from flows.query.members import Members
from flows.query.peers import PeerError

Value = TypeVar("Value")
Ask = Callable[[Member, tuple[int, ...]], Awaitable[tuple[Value, list[Missing]]]]
"""Ask one member for these partitions: what it has, and what of them it lacks. May raise `PeerError`."""

_ROUNDS = 2


async def spread(
    members: Members,
    table: str,
    tasks: tuple[str, ...],
    ask: Ask[Value],
    missing: list[Missing] | None,
    *,
    only: Collection[int] | None = None,
) -> list[Value]:
    """Return the answers of all holders of a table, whose tasks are given by partition; or of the partitions `only`."""
    left = set(range(len(tasks)) if only is None else only)
    found: list[Value] = []
    lacks: dict[int, Missing] = {}
    asked: dict[int, str] = {}
    for _ in range(_ROUNDS):
        # 1
        holders = await members.holders(tasks)
        again = {p: holders[p] for p in left if p in holders and asked.get(p) != holders[p].id}
        # 2
        for partitions, answer in await _ask(ask, again):
            asked.update((p, again[p].id) for p in partitions)
            if isinstance(answer, PeerError):
                lacks.update((p, _lack(table, p, again[p], str(answer))) for p in partitions)
            else:
                value, lacking = answer
                found.append(value)
                lacks.update((m.partition, m) for m in lacking)
                left -= set(partitions) - {m.partition for m in lacking}
        # 3
        if not left:
            break
        members.forget()
    # 4
    note_missing(missing, (lacks.get(p) or _lack(table, p, None, _UNHELD) for p in sorted(left)))
    return found


_UNHELD = "no worker has taken it over yet"


async def _ask(
    ask: Ask[Value], holders: Mapping[int, Member]
) -> list[tuple[tuple[int, ...], tuple[Value, list[Missing]] | PeerError]]:
    members = {member.id: member for member in holders.values()}
    shares = {m: tuple(sorted(p for p, holder in holders.items() if holder.id == m)) for m in members}

    async def one(member: Member, partitions: tuple[int, ...]) -> tuple[Value, list[Missing]] | PeerError:
        try:
            return await ask(member, partitions)
        except PeerError as error:
            return error

    answers = await asyncio.gather(*(one(members[m], partitions) for m, partitions in shares.items()))
    return [*zip(shares.values(), answers, strict=True)]


def _lack(table: str, partition: int, member: Member | None, reason: str) -> Missing:
    return Missing(table=table, partition=partition, worker=None if member is None else member.id, reason=reason)
