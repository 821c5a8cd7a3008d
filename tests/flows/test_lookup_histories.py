"""Streams joined with a topic's table against the naive oracle: disorder, removals, null keys, cut in many ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from tests.drawn import drawn
from tests.flows.join_histories import Left, Right, in_any_order, rows_of
from tests.oracle.lookups import TableJoin, Told, in_order_of_time

_DRAWN = st.tuples(
    st.sampled_from([0, 1]),
    st.sampled_from(["a", "a", "b", None]),
    st.integers(0, 4) | st.sampled_from([0, 0, 25]),
    st.sampled_from([0, 0, 0, 1, 2, 5, 9, 20]),
    st.sampled_from(["", "", "", "", "", "timeless", "gone", "gone"]),
)
CUTS = st.lists(st.sampled_from(["one", "batch", "batch", "batch", "crash", "crash in batch", "rebalance"]), max_size=8)
SHAPES: dict[str, tuple[str, int | None]] = {
    "inner": ("inner", None),
    "left": ("left", None),
    "versioned": ("left", 10),
    "versioned for ever": ("inner", 100_000),
    "versioned for nothing": ("left", 0),
}


def told(drawn: list[Any], own: bool) -> list[Told]:
    found, clock = [], 100.0
    for n, (side, key, step, back, kind) in enumerate(drawn):
        clock += step
        has_own = own and side == 1
        at = None if kind == "timeless" and not has_own else clock - back
        found.append(Told(side, key, n, at, side == 1 and kind == "gone", has_own))
    return found


@pytest.mark.parametrize("own", [False, True], ids=["times of a field", "records' own times"])
@pytest.mark.parametrize("shape", SHAPES)
@drawn(25)
@given(st.lists(_DRAWN, max_size=25), CUTS)
def test_a_stream_and_a_topics_table(shape: str, own: bool, drawn: list[Any], cuts: list[str]) -> None:
    how, history = SHAPES[shape]
    app = flows.App("o")
    sides = (
        app.topic("left", value=Left, key="key", timestamp="at"),
        app.topic("right", value=Right, key="key", timestamp=None if own else "at"),
    )
    table = sides[1].table("table", versioned=history)
    stream, oracle = sides[0].join(table, how=how, suffix="_right"), TableJoin(how, history)
    with app.test() as t:
        t._env.chunk, t._env.fetch_records, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) % 4, 1 + len(cuts) * 2
        t.rebalance()
        left, turn = told(drawn, own), 0
        while left:
            cut = cuts[turn % len(cuts)] if cuts else "one"
            turn += 1
            length = 1 + turn % 5 if "batch" in cut else 1
            for record in in_order_of_time(left[:length]):
                oracle.take(record)
            with t.batch():
                for r in left[:length]:
                    value = None if r.gone else (Left, Right)[r.side](r.key, r.n, r.at)
                    t.send(sides[r.side], value, key=r.key, at=r.at if r.has_own else None)
                if cut == "crash in batch":
                    t.crash()
            left = left[length:]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        assert in_any_order([row[:3] for row in rows_of(t, stream)]) == in_any_order(oracle.rows)
        assert {row["key"]: row["n"] for row in t.table(table).rows()} == oracle.table()
        assert len(t.dead_letters()) == oracle.refused
