"""Events whose keys say what must come of them: under "40-63" the integers 40 to 63 come once each, shuffled a bit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import msgspec

from tests.kafka.chaos.flow import Event

START = 1_700_000_000.0
"""The event time of the first event; later ones follow their number, not the clock, so that a seed makes them anew."""

_SECONDS_EACH, _JITTER = 0.02, 1.0
_ACTIVE, _WINDOW, _LANES = 24, 8, 5


class Range:
    """The integers from `low` to `high`, shuffled within a window."""

    def __init__(self, low: int, high: int, chance: random.Random) -> None:
        self.key = f"{low}-{high}"
        self._left = iter(range(low, high + 1))
        self._chance = chance
        self._window = list(itertools.islice(self._left, _WINDOW))

    def take(self) -> int | None:
        """Return one of the next integers; None when all are out."""
        if not self._window:
            return None
        place = self._chance.randrange(len(self._window))
        number = self._window[place]
        follower = next(self._left, None)
        if follower is None:
            del self._window[place]
        else:
            self._window[place] = follower
        return number


class Events:
    """An endless history, the same for a seed; `ended` once `finish` was asked and all ranges are out."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"events {seed}")
        self._low = self._count = 0
        self._finishing = False
        self._active = [self._range() for _ in range(_ACTIVE)]

    def finish(self) -> None:
        """Begin no new range."""
        self._finishing = True

    def __iter__(self) -> Iterator[Event]:
        while self._active:
            place = self._chance.randrange(len(self._active))
            chosen = self._active[place]
            number = chosen.take()
            if number is not None:
                self._count += 1
                at = START + self._count * _SECONDS_EACH + self._chance.uniform(-_JITTER, 0)
                yield Event(chosen.key, number, f"lane-{number % _LANES}", round(at, 3))
            elif self._finishing:
                del self._active[place]
            else:
                self._active[place] = self._range()

    def _range(self) -> Range:
        low = self._low
        self._low += self._chance.randint(1, 200)
        return Range(low, self._low - 1, self._chance)


def numbers_of(key: str) -> range:
    """Return the integers that a key promises."""
    low, high = map(int, key.split("-"))
    return range(low, high + 1)


encode = msgspec.json.Encoder().encode
