"""Which faults come when: a list made from a seed alone, told by how many events are done when each is due."""

from __future__ import annotations

import random
from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What is done to a worker or to a broker."""

    KILL_WORKER = "worker killed"
    LOSE_WORKER = "worker killed, its disk lost"
    ZOMBIE = "worker stopped past its lease, then continued"
    ADD_WORKER = "worker added"
    REMOVE_WORKER = "worker removed"
    RESTART_BROKER = "broker restarted"
    KILL_BROKER = "broker killed"
    MOVE_LEADERS = "leaders moved"


BROKER_KINDS = frozenset({Kind.RESTART_BROKER, Kind.KILL_BROKER, Kind.MOVE_LEADERS})


class Fault(msgspec.Struct, frozen=True):
    """One fault: due when `at` events are done; `who` (of 0 to 1) chooses its victim, `pause` is in seconds."""

    at: int
    kind: Kind
    who: float
    pause: float

    def __str__(self) -> str:
        return f"at {self.at:>7} events: {self.kind} ({self.who:.3f}, {self.pause:.1f} s)"


def make_schedule(seed: int, events: int, count: int) -> list[Fault]:
    """Spread `count` faults over so many events, all kinds equally often: in rounds, each in an order of its own."""
    chance = random.Random(f"faults {seed}")
    first, last = events // 10, events * 9 // 10
    places = [first + (last - first) * n // max(count - 1, 1) for n in range(count)]
    return [
        Fault(at, kind, chance.random(), _pause(chance)) for at, kind in zip(places, _kinds(chance, count), strict=True)
    ]


def _kinds(chance: random.Random, count: int) -> Iterable[Kind]:
    found: list[Kind] = []
    while len(found) < count:
        found += chance.sample(list(Kind), len(Kind))
    return found[:count]


def _pause(chance: random.Random) -> float:
    """Return how long the dead stay dead: back before anybody noticed, or long after."""
    return chance.choice((0.0, 1.0, 12.0))
