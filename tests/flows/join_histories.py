"""Random histories for joins of two streams, cut into batches, commits, crashes, moves and silence at will."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hypothesis import strategies as st

import flows
from flows.testing import Driver
from tests.oracle.joins import Came, in_order_of_time

_DRAWN = st.tuples(
    st.sampled_from([0, 1]),
    st.sampled_from(["a", "a", "b", "c", None]),
    st.integers(0, 4) | st.sampled_from([0, 0, 25]),
    st.sampled_from([0, 0, 0, 1, 2, 5, 9, 20, 40]),
    st.sampled_from([False] * 9 + [True]),
)
HISTORIES = st.lists(_DRAWN, max_size=25)
CUTS = st.lists(
    st.sampled_from(["one", "batch", "batch", "batch", "crash", "crash in batch", "rebalance", "silence"]), max_size=8
)
_AGES = 10_000.0


class Left(flows.Record):
    key: str | None
    n: int
    at: float | None


class Right(flows.Record):
    key: str | None
    n: int
    at: float | None


class Oracle(Protocol):
    """A naive join."""

    def take(self, record: Came) -> None: ...

    def all_silent(self) -> None: ...


def records_of(drawn: Sequence[Any]) -> list[Came]:
    """Give drawn records times and numbers: time goes on by some seconds a record, and many are late by some."""
    found, clock = [], 100.0
    for n, (side, key, step, back, timeless) in enumerate(drawn):
        clock += step
        found.append(Came(side, key, n, None if timeless else clock - back))
    return found


class History:
    """A history on its way into two topics and an oracle at once. After a silence, ages have passed."""

    def __init__(self, t: Driver, sides: tuple[flows.Topic, flows.Topic], oracle: Oracle) -> None:
        self._t, self._sides, self._oracle, self._past = t, sides, oracle, 0.0

    def play(self, records: Sequence[Came], cuts: Sequence[str]) -> None:
        """Send all, each cut in turn saying how far the next commit goes and what happens then."""
        t = self._t
        t._env.chunk, t._env.fetch_records, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) % 4, 1 + len(cuts) * 2
        t.rebalance()
        left, turn = list(records), 0
        while left:
            cut = cuts[turn % len(cuts)] if cuts else "one"
            turn += 1
            length = 1 + turn % 5 if "batch" in cut else 1
            self._send(left[:length], t.crash if cut == "crash in batch" else None)
            left = left[length:]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
            elif cut == "silence":
                self.fall_silent()
        self.fall_silent()

    def _send(self, records: Sequence[Came], inside: Callable[[], None] | None) -> None:
        moved = [r if r.at is None else r._replace(at=r.at + self._past) for r in records]
        for record in in_order_of_time(moved):
            self._oracle.take(record)
        with self._t.batch():
            for record in moved:
                self._t.send(self._sides[record.side], (Left, Right)[record.side](record.key, record.n, record.at))
            if inside is not None:
                inside()

    def fall_silent(self) -> None:
        """Have nothing come until every window has closed."""
        self._t.advance("3m")
        self._oracle.all_silent()
        self._past += _AGES


def rows_of(t: Driver, stream: flows.Stream) -> list[tuple[Any, ...]]:
    """Return what came of a join: key, both numbers, event time."""
    return [(r.value["key"], r.value["n"], r.value["n_right"], r.timestamp) for r in t.output(stream)]


def in_any_order(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=str)
