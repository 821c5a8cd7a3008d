"""Who should hold which task of a group: a pure function, which the leader of a Kafka group computes.

The aims, each before the next:

1. Even: members differ by at most one task, in each part of the flow (a part's tasks cost about the same) and overall.
2. Sticky: as few tasks move as evenness allows.
3. Near: a task that must move goes where its state is nearest to its end.

A task whose state is complete somewhere is not taken from there before its new holder has caught up, as in Kafka
Streams (KIP-441): the holder keeps it for now, and the new one warms a copy up. A few at a time, so that copies do not
crowd out the work. Beside these, warm copies (standbys) are spread so that one takes over at once when a holder dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import msgspec

from flows.brokers.kafka.assignor_quotas import quotas

CAUGHT_UP = 10_000
"""Records that a copy may be behind and still count as complete: a second's work or less."""

_WARMING = 2


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A member that tasks may be given to.

    `owned` are the tasks that it runs, `lags` how many records the state that it keeps lacks, by task (0 where it runs
    the task and has restored it). Where no member tells the lag of a task, the task has no state worth waiting for.
    """

    id: str
    owned: frozenset[str] = frozenset()
    lags: Mapping[str, int] = {}


class Placement(msgspec.Struct, frozen=True):
    """Who should hold each task, and who should keep warm copies of it; `warming` tells copies that are awaited."""

    holders: dict[str, str]
    standbys: dict[str, tuple[str, ...]]
    warming: frozenset[str]


def part_of(task: str) -> str:
    """Return the part of the flow that a task belongs to.

    >>> part_of("departures/3")
    'departures'
    """
    return task.rpartition("/")[0]


def place(
    tasks: Iterable[str],
    members: Sequence[Candidate],
    *,
    standbys: int = 0,
    caught_up: int = CAUGHT_UP,
    warming: int = _WARMING,
) -> Placement:
    """Place tasks and their warm copies on members; the same for the same arguments in any order.

    `standbys` copies are kept of each task as far as there are members. At most `warming` tasks wait at a time for
    their next holder to catch up; others that should move stay where they are complete until it is their turn.

    >>> place(["a/0", "a/1"], [Candidate(id="one", owned=frozenset(["a/0", "a/1"])), Candidate(id="two")]).holders
    {'a/0': 'one', 'a/1': 'two'}
    """
    members = sorted(members, key=lambda member: member.id)
    wanted = sorted(set(tasks), key=_order)
    if not members:
        return Placement({}, {}, frozenset())
    owners = {task: member.id for member in reversed(members) for task in member.owned}
    even = _even(wanted, members, owners)
    complete = {task: _complete_at(task, members, caught_up) for task in wanted}
    holders: dict[str, str] = {}
    moving: list[tuple[bool, str]] = []
    load = Counter(even[task] for task in wanted if not complete[task] or even[task] in complete[task])
    for task in wanted:
        at, target = complete[task], even[task]
        if not at or target in at:
            holders[task] = target
            continue
        owner = owners.get(task)
        holders[task] = owner if owner in at else min(at, key=lambda m: (load[m], m))
        load[holders[task]] += 1
        begun = any(member.id == target and task in member.lags for member in members)
        moving.append((not begun, task))
    awaited = [task for _, task in sorted(moving, key=lambda entry: (entry[0], _order(entry[1])))[:warming]]
    copies = _copies(wanted, members, holders, {task: even[task] for task in awaited}, standbys)
    return Placement(holders, copies, frozenset(awaited))


def _order(task: str) -> tuple[str, int, str]:
    part, _, number = task.rpartition("/")
    return (part, int(number), "") if number.isdecimal() else (part, -1, task)


def _complete_at(task: str, members: Sequence[Candidate], caught_up: int) -> list[str]:
    return [member.id for member in members if member.lags.get(task, caught_up + 1) <= caught_up]


def _even(wanted: Sequence[str], members: Sequence[Candidate], owners: Mapping[str, str]) -> dict[str, str]:
    """Place tasks evenly, without regard to what is caught up."""
    nearest = {
        task: min((member.lags[task], member.id) for member in members if task in member.lags)[1]
        for task in {task for member in members for task in member.lags}
    }
    ids = [member.id for member in members]
    parts = {part: list(found) for part, found in groupby(wanted, part_of)}
    owned = Counter((owners[task], part) for part, found in parts.items() for task in found if task in owners)
    homes = [
        (home, part)
        for part, found in parts.items()
        for task in found
        if (home := owners.get(task) or nearest.get(task)) is not None
    ]
    room = quotas({part: len(found) for part, found in parts.items()}, ids, owned, Counter(homes))
    placed: dict[str, str] = {}
    for part, found in parts.items():
        placed |= _fill(found, members, owners, {id_: room[id_, part] for id_ in ids})
    return placed


def _fill(
    tasks: Sequence[str], members: Sequence[Candidate], owners: Mapping[str, str], room: dict[str, int]
) -> dict[str, str]:
    """Place the tasks of one part: those that stay, then those with state somewhere, then the rest."""
    kept_elsewhere = Counter(task for member in members for task in member.lags)
    placed: dict[str, str] = {}

    def put(task: str, member: str) -> None:
        if task not in placed and room[member] > 0:
            placed[task] = member
            room[member] -= 1

    # Of too many, those leave that others have copies of.
    for task in sorted(tasks, key=lambda task: (kept_elsewhere[task] > 1, _order(task))):
        if task in owners:
            put(task, owners[task])
    near = [
        (member.lags[task], _order(task), task, member.id)
        for member in members
        for task in tasks
        if task in member.lags
    ]
    for _, _, task, member in sorted(near):
        put(task, member)
    for task in tasks:
        if task not in placed:
            put(task, max(room, key=room.__getitem__))
    return placed


def _copies(
    wanted: Sequence[str],
    members: Sequence[Candidate],
    holders: Mapping[str, str],
    awaited: Mapping[str, str],
    standbys: int,
) -> dict[str, tuple[str, ...]]:
    """Choose who keeps copies: members that have one already, then those with the fewest."""
    count = min(standbys, len(members) - 1)
    most = -(-count * len(wanted) // len(members))
    copies = {task: [awaited[task]] if task in awaited else [] for task in wanted}
    load: Counter[str] = Counter()
    for _ in range(count):
        for task in wanted:
            free = [m for m in members if m.id != holders[task] and m.id not in copies[task]]
            if not free:
                continue
            best = min(free, key=lambda m: (load[m.id] >= most, m.lags.get(task, 1 << 62), load[m.id], m.id))
            copies[task].append(best.id)
            load[best.id] += 1
    while _level(wanted, members, holders, awaited, copies, load):
        pass
    return {task: tuple(found) for task, found in copies.items() if found}


def _level(
    wanted: Sequence[str],
    members: Sequence[Candidate],
    holders: Mapping[str, str],
    awaited: Mapping[str, str],
    copies: Mapping[str, list[str]],
    load: Counter[str],
) -> bool:
    """Move one copy from a member to one that has fewer by two or more, if there is any that may move."""
    lags = {member.id: member.lags for member in members}
    by_load = sorted(lags, key=lambda id_: (load[id_], id_))
    for most in reversed(by_load):
        for least in by_load:
            if load[most] - load[least] < 2:
                break
            may = [t for t in wanted if most in copies[t] and least not in (holders[t], *copies[t])]
            may = [t for t in may if awaited.get(t) != most]
            if may:
                # One that is not warm anyway, rather than one that is.
                task = min(may, key=lambda t: (t in lags[most], t not in lags[least], _order(t)))
                copies[task][copies[task].index(most)] = least
                load.update({most: -1, least: 1})
                return True
    return False
