"""How many tasks of each part of a flow each member gets, so that all is even and most can stay where it is.

Each part's tasks, divided by the members, leave a remainder: some members get one more. Who does decides how many tasks
move, and is a flow of least cost from the parts through the members: small (parts times members), so solved exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

Quota = dict[tuple[str, str], int]


def quotas(
    parts: Mapping[str, int],
    members: Sequence[str],
    owned: Mapping[tuple[str, str], int],
    homes: Mapping[tuple[str, str], int],
) -> Quota:
    """Return the number of tasks by (member, part): even in each part and overall, to within one.

    `parts` tells the number of tasks of each. Among all even ways the one is chosen that lets members keep the most of
    what they run (`owned`, by member and part), and then of where tasks would go by themselves (`homes`).

    >>> quotas({"a": 3}, ["one", "two"], {("two", "a"): 3}, {("two", "a"): 3})
    {('one', 'a'): 1, ('two', 'a'): 2}
    """
    base = {part: count // len(members) for part, count in parts.items()}
    extras = {part: count % len(members) for part, count in parts.items()}
    every, some = divmod(sum(extras.values()), len(members))
    stay = len(members) * len(parts) + 1  # one task that stays is worth more than all that would be at home
    even = stay * (stay + 1)  # and evenness more than all that stay

    network = _Network()
    for part, count in extras.items():
        network.edge("from", ("part", part), count, 0)
        for member in members:
            gain = stay * (owned.get((member, part), 0) > base[part]) + (homes.get((member, part), 0) > base[part])
            network.edge(("part", part), ("member", member), 1, -gain)
    for member in members:
        network.edge(("member", member), "to", every, -even)
        network.edge(("member", member), "to", 1 if some else 0, 0)
    network.fill("from", "to")
    return {
        (member, part): base[part] + network.through(("part", part), ("member", member))
        for member in members
        for part in parts
    }


class _Network:
    """A flow network; edges are kept in pairs, each the reverse of the other."""

    def __init__(self) -> None:
        self._out: dict[object, list[int]] = {}
        self._target: list[object] = []
        self._room: list[int] = []
        self._cost: list[int] = []

    def edge(self, start: object, end: object, room: int, cost: int) -> None:
        for origin, target, capacity, price in ((start, end, room, cost), (end, start, 0, -cost)):
            self._out.setdefault(origin, []).append(len(self._target))
            self._target.append(target)
            self._room.append(capacity)
            self._cost.append(price)

    def through(self, start: object, end: object) -> int:
        return sum(self._room[e ^ 1] for e in self._out[start] if self._target[e] == end and not e & 1)

    def fill(self, source: object, sink: object) -> None:
        """Send as much as possible at the least cost: along all cheapest ways at once, until there is none."""
        while True:
            costs = self._costs(source)
            if sink not in costs:
                return
            while self._push(source, sink, costs, 1 << 60, set()):
                pass

    def _costs(self, source: object) -> dict[object, int]:
        costs: dict[object, int] = {source: 0}
        queue, queued = deque([source]), {source}
        while queue:
            node = queue.popleft()
            queued.discard(node)
            for e in self._out.get(node, ()):
                target, cost = self._target[e], costs[node] + self._cost[e]
                if self._room[e] and cost < costs.get(target, cost + 1):
                    costs[target] = cost
                    if target not in queued:
                        queue.append(target)
                        queued.add(target)
        return costs

    def _push(self, node: object, sink: object, costs: Mapping[object, int], most: int, seen: set[object]) -> int:
        if node == sink:
            return most
        seen.add(node)
        for e in self._out.get(node, ()):
            target = self._target[e]
            if self._room[e] and target not in seen and costs[node] + self._cost[e] == costs.get(target):
                pushed = self._push(target, sink, costs, min(most, self._room[e]), seen)
                if pushed:
                    self._room[e] -= pushed
                    self._room[e ^ 1] += pushed
                    return pushed
        return 0
