"""Who should hold which task: a pure function, the same for every member that computes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle


def share(tasks: Iterable[str], members: Sequence[str], current: Mapping[str, str]) -> dict[str, str]:
    """Give each task to a member: counts differ by at most one, and only the tasks move that must.

    `members` are in order of joining; `current` maps tasks to those who hold them (or were to get them). A member
    keeps what it has up to its share; the larger shares go to those who hold the most.

    >>> share(["a", "b", "c"], ["one", "two"], {"a": "two", "b": "two", "c": "two"})
    {'a': 'two', 'b': 'two', 'c': 'one'}
    """
    wanted = sorted(set(tasks))
    if not members:
        return {}
    kept: dict[str, list[str]] = {member: [] for member in members}
    for task in wanted:
        holder = current.get(task)
        if holder in kept:
            kept[holder].append(task)
    small, larger = divmod(len(wanted), len(members))
    order = sorted(members, key=lambda member: -len(kept[member]))
    room = {member: small + (index < larger) for index, member in enumerate(order)}
    targets = {task: member for member in order for task in kept[member][: room[member]]}
    return dict(sorted((targets | _deal(wanted, order, room, targets)).items()))


def _deal(
    wanted: Sequence[str], order: Sequence[str], room: Mapping[str, int], targets: Mapping[str, str]
) -> dict[str, str]:
    # In turns, so that neighbouring tasks (partitions of one sub-topology) spread over the members.
    left = dict(room)
    for member in targets.values():
        left[member] -= 1
    free = [task for task in wanted if task not in targets]
    dealt: dict[str, str] = {}
    turns = cycle(order)
    for task in free:
        member = next(member for member in turns if left[member] > 0)
        left[member] -= 1
        dealt[task] = member
    return dealt
