"""Records of several inputs are taken in rounds: what comes out, and in which order, is what one by one would give."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.testing import Driver
from tests.drawn import drawn


class Event(flows.Record):
    key: str | None
    n: int
    at: float | None


_DRAWN = st.tuples(
    st.sampled_from(["left", "right", "third"]),
    st.sampled_from(["a", "a", "b", None]),
    st.integers(0, 3) | st.sampled_from([0, 0, 25]),
    st.sampled_from([0, 0, 0, 1, 2, 5, 20]),
    st.sampled_from(["", "", "", "", "", "", "timeless", "gone", "bad"]),
)
HISTORIES = st.lists(_DRAWN, max_size=30)
CUTS = st.sampled_from([(2, 100), (3, 2), (7, 5), (1000, 1000)])
"""Records that are processed at once, and fetched at once."""


class Everything:
    """Three topics that meet in all ways; what comes of each way is a topic of its own."""

    def __init__(self) -> None:
        self.app = app = flows.App("rounds")

        def topic(name: str) -> flows.Topic:
            return app.topic(name, value=Event, key="key", timestamp="at", partitioned_by="murmur2")

        self.topics = {name: topic(name) for name in ("left", "right", "third")}
        left, right, third = self.topics.values()
        window = left.join(right, "key", how="outer", before=5, after=5, grace=2, suffix="_r", name="window")
        now = left.join(third.table("now"), how="left", suffix="_t", name="as_it_is")
        then = right.join(third.table("then", versioned=10), how="left", suffix="_t", name="as_it_was")
        itself = third.join(third.table("itself"), how="inner", suffix="_t", name="with_itself")
        behind = window.select("key", "n").join(
            third.select("key", "n"), "key", how="left", before=6, after=6, suffix="_t", name="behind"
        )
        near = left.join_asof(third, tolerance=4, direction="nearest", suffix="_t", name="near")
        merged = left.merge(right, third.filter(flows.col("n") % 2 == 0), left.filter(flows.col("n") % 3 == 0))
        mixed = window.select("key", "n").merge(left.select("key", "n"))
        once = merged.dedupe("key", within="3s", name="once")
        self.late = [window, behind, near]
        self.outputs = [window, now, then, itself, behind, near, merged, mixed, once]
        self.out = app.topic("out", value=dict)
        seen = app.table("seen", value=int, default=int)
        soon = app.key_timer("soon")

        @app.agent(merged, sink=[self.out])
        async def of_merged(stream: Any) -> Any:
            async for event in stream.events():
                seen["all"] += 1
                yield {"is": [event.topic, event.offset], "turn": seen["all"]}
                if event.timestamp is not None:
                    soon.set(str(event.value.key), at=event.timestamp + event.value.n % 4)

        @app.agent(behind, sink=[self.out])
        async def of_joined(stream: Any) -> Any:
            async for row in stream:
                seen["all"] += 1
                yield {"is": [row.key, row.n, row.n_t], "turn": seen["all"]}
                soon.cancel(str(row.key))

        @soon.on_time
        async def ring(key: str, due: float) -> None:
            seen["all"] += 1
            await self.out.send({"is": [key, due], "turn": seen["all"]})

    def results(self, t: Driver) -> list[Any]:
        found: list[Any] = [[(r.key, r.value, r.timestamp) for r in t.output(stream)] for stream in self.outputs]
        found.append([r.value["is"] for r in sorted(t.output(self.out), key=lambda r: r.value["turn"])])
        found += [[(r.value, r.timestamp) for r in t.late(stream)] for stream in self.late]
        return found


def results_of(history: list[Any], chunk: int, fetch: int, crash: bool) -> list[Any]:
    """Return what comes of a history that is taken so."""
    all_ways = Everything()
    with Driver(all_ways.app, now=1_000.0) as t:
        t._env.fetch_records = fetch
        t.send(all_ways.topics["left"], Event("a", -1, 90.0))  # so that others wake in the middle of a round
        t.advance("10s")
        for task in t._tasks:
            task._chunk = task.env.chunk = chunk
        clock = 100.0
        for half in (history[::2], history[1::2]):
            with t.batch():
                for n, (name, key, step, back, kind) in enumerate(half):
                    clock += step
                    at = None if kind == "timeless" else clock - back
                    value = None if kind == "gone" else b"bad" if kind == "bad" else Event(key, n, at)
                    t.send(all_ways.topics[name], value, key=key)
                if crash:
                    t.crash()
                    for task in t._tasks:
                        task._chunk = task.env.chunk = chunk
            t.advance("7s")
        t.advance("3m")
        return all_ways.results(t)


@drawn(20)
@given(HISTORIES, CUTS, st.booleans())
def test_any_cut_of_the_rounds_gives_the_same_in_the_same_order(
    history: list[Any], cut: tuple[int, int], crash: bool
) -> None:
    assert results_of(history, *cut, crash) == results_of(history, 1, 1, False)
