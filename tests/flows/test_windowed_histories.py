"""Dictionary tables with windows over random histories: the oracle's rows, wherever batches, crashes and moves fell."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import flows
from tests.drawn import drawn
from tests.oracle.windowed import WindowedDict
from tests.oracle.windows import Windows

QUARTER = 250_000
CUTS = st.lists(st.sampled_from(["commit", "batch", "crash", "crash in batch", "rebalance"]), min_size=1, max_size=8)
SENT = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=20)
WINDOWS = st.sampled_from([(4, 4), (1, 1), (6, 6), (8, 4), (6, 4), (5, 2)])


class Hit(flows.Record):
    page: str
    at: float


@drawn(50)
@given(SENT, CUTS, WINDOWS, st.integers(0, 12), st.booleans())
def test_any_history_gives_the_rows_the_closings_and_the_late_records_of_the_oracle(
    sent: list[tuple[str, int]], cuts: list[str], window: tuple[int, int], expires: int, through_take: bool
) -> None:
    size, step = (n * QUARTER / 1e6 for n in window)
    app = flows.App("a")
    hits = app.topic("hits", value=Hit, timestamp="at")
    out, closed = app.topic("out", value=dict), app.topic("closed", value=dict)

    async def tell(key: Any, value: int) -> None:
        await closed.send({"page": key[0], "bounds": key[1], "value": value})

    counts = app.table("counts", value=int, default=int, on_window_close=tell).hopping(
        size, step, expires=expires * QUARTER / 1e6
    )

    @app.agent(hits, sink=[out])
    async def count(stream):
        async for hit in stream if not through_take else (h async for (h,) in stream.take(1)):
            counts[hit.page] += 1
            yield {"current": counts[hit.page].current(), "before": counts[hit.page].delta(1.0)}

    model = WindowedDict(Windows(window[0] * QUARTER, window[1] * QUARTER), expires * QUARTER)
    seen = [model.record(page, at * QUARTER, 1_000_000) for page, at in sent]
    with app.test() as t:
        left = list(sent)
        while left:
            cut = cuts[len(left) % len(cuts)]
            some = left[: 4 if "batch" in cut else 1]
            with t.batch():
                for page, at in some:
                    t.send(hits, {"page": page}, at=at * QUARTER / 1e6)
                if cut == "crash in batch":
                    t.crash()
            left = left[len(some) :]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        rows = {(round(r["window_start"] * 1e6), r["key"]): r["value"] for r in t.table(counts).rows()}
        assert rows == model.rows
        assert [(r.value["current"], r.value["before"]) for r in t.output(out)] == [(s.current, s.before) for s in seen]
        told = [(round(r.value["bounds"][0] * 1e6), r.value["page"], r.value["value"]) for r in t.output(closed)]
        assert told == model.closed
        assert [[round(w * 1e6) for w in r.windows] for r in t.late(counts)] == [s.late for s in seen if s.late]
