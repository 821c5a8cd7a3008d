"""Set tables with windows: what sets do in each window, over crashes and moves, late elements told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import DeclarationError
from tests.drawn import drawn
from tests.oracle.windows import Windows

QUARTER = 250_000


class Visit(flows.Record):
    page: str
    user: int
    op: str = "add"


def test_a_key_has_a_set_for_each_window() -> None:
    app = flows.App("site")
    visits, out = app.topic("visits", value=Visit), app.topic("out", value=dict)
    readers = app.set_table("readers", value=int).hopping("10s", "5s", expires="1m")

    @app.agent(visits, sink=[out])
    async def watch(stream):
        async for visit in stream:
            readers[visit.page].add(visit.user)
            yield {
                "now": sorted(readers[visit.page]), "size": len(readers[visit.page]),
                "has": visit.user in readers[visit.page], "before": sorted(readers[visit.page].delta("10s")),
                "current": sorted(readers[visit.page].current()), "value": sorted(readers[visit.page].value()),
                "wall": sorted(readers[visit.page].now()), "keys": list(readers), "items": [
                    [key, sorted(users)] for key, users in readers.items()],
                "old": [[key, sorted(users)] for key, users in readers.items().delta("10s")],
                "all": [[*key, sorted(users)] for key, users in readers.windows()],
            }  # fmt: skip

    with app.test(now=1012.0) as t:
        for at, user in ((1000.0, 1), (1004.0, 2), (1004.0, 1), (1012.0, 3)):
            t.send(visits, Visit("/", user), at=at)
            t.crash()
        found = [r.value for r in t.output(out)]
        assert [(f["now"], f["before"]) for f in found] == [([1], []), ([1, 2], []), ([1, 2], []), ([3], [1, 2])]
        assert all(f["has"] and f["now"] == f["current"] == f["value"] and len(f["now"]) == f["size"] for f in found)
        assert (found[-1]["wall"], found[-1]["keys"], found[-1]["items"]) == ([3], ["/"], [["/", [3]]])
        assert found[-1]["old"] == [["/", [1, 2]]]
        assert found[-1]["all"] == [
            ["/", [995.0, 1005.0], [1, 2]],
            ["/", [1000.0, 1010.0], [1, 2]],
            ["/", [1005.0, 1015.0], [3]],
            ["/", [1010.0, 1020.0], [3]],
        ]
        assert t.table(readers).get("/") == {3}
        assert t.table(readers).get("/", window=1000.0) == {1, 2}
        assert t.table(readers).rows()[0] == {"key": "/", "window_start": 995.0, "window_end": 1005.0, "value": 1}


def test_assigning_and_removing_change_every_window_of_the_record() -> None:
    app = flows.App("site")
    visits = app.topic("visits", value=Visit)
    readers = app.set_table("readers", value=int).hopping("10s", "5s")

    @app.agent(visits)
    async def watch(stream):
        async for visit in stream:
            here = readers[visit.page]
            if visit.op == "set":
                readers[visit.page] = {visit.user, visit.user + 1}
            elif visit.op == "keep":
                readers[visit.page] &= {visit.user}
            elif visit.op == "turn":
                readers[visit.page] ^= {visit.user}
            elif visit.op == "copy":
                here.current().add(visit.user)
            elif visit.op == "gone":
                del readers[visit.page]
            else:
                here |= {visit.user}

    def kept(t: Any) -> dict[float, set[int]]:
        found: dict[float, set[int]] = {}
        for row in t.table(readers).rows():
            found.setdefault(row["window_start"], set()).add(row["value"])
        return found

    with app.test() as t:
        t.send(visits, Visit("/", 1), at=7.0)  # [0, 10) and [5, 15)
        t.send(visits, Visit("/", 2), at=12.0)  # [5, 15) and [10, 20)
        assert kept(t) == {0.0: {1}, 5.0: {1, 2}, 10.0: {2}}
        t.send(visits, Visit("/", 2, "keep"), at=12.0)
        assert kept(t) == {0.0: {1}, 5.0: {2}, 10.0: {2}}
        t.send(visits, Visit("/", 2, "turn"), at=7.0)
        assert kept(t) == {0.0: {1, 2}, 10.0: {2}}
        t.send(visits, Visit("/", 7, "set"), at=7.0)
        assert kept(t) == {0.0: {7, 8}, 5.0: {7, 8}, 10.0: {2}}
        t.send(visits, Visit("/", 0, "gone"), at=12.0)
        assert kept(t) == {0.0: {7, 8}}
        t.send(visits, Visit("/", 0, "gone"), at=12.0)
        assert "KeyError" in t.dead_letters()[0].reason
        t.send(visits, Visit("/", 0, "copy"), at=12.0)
        assert "'frozenset' object has no attribute 'add'" in t.dead_letters()[-1].reason


def test_windows_of_other_kinds_and_elements_of_other_types_are_told() -> None:
    readers = flows.App("a").set_table("s", value=int)
    readers.tumbling("1m")
    with pytest.raises(DeclarationError, match=r"has windows already: tumbling\(1m\)"):
        readers.hopping("1m", "30s")
    app = flows.App("b")
    visits = app.topic("visits", value=Visit)
    texts = app.set_table("texts").tumbling("1m")

    @app.agent(visits, retries=0)
    async def wrong(stream):
        async for visit in stream:
            texts[visit.page].add(visit.user)

    with app.test() as t:
        t.send(visits, Visit("/", 1), at=1.0)
        assert "table 'texts': element 1 is int, declared value=str" in t.dead_letters()[0].reason


CUTS = st.lists(st.sampled_from(["commit", "batch", "crash", "crash in batch", "rebalance"]), min_size=1, max_size=8)
OPS = st.sampled_from(["add", "add", "add", "discard"])
SENT = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), OPS, st.integers(0, 40)), max_size=20)
WINDOWS = st.sampled_from([(4, 4), (1, 1), (8, 4), (6, 4), (5, 2)])


class Sets:
    """The same by the book: one dict of sets, looked through before each record."""

    def __init__(self, windows: Windows, expires: int) -> None:
        self.windows, self.expires, self.time = windows, expires, -1
        self.sets: dict[tuple[int, str], set[int]] = {}

    def record(self, page: str, user: int, op: str, at: int) -> tuple[list[int], list[int], list[int]]:
        self.time = max(self.time, at)
        self.sets = {k: v for k, v in self.sets.items() if v and not self._is_gone(k[0])}
        late = []
        for start in self.windows.starts(at):
            if op == "discard":
                self.sets.get((start, page), set()).discard(user)
            elif self._is_gone(start):
                late.append(start)
            else:
                self.sets.setdefault((start, page), set()).add(user)
        newest, before = max(self.windows.starts(at)), max(self.windows.starts(at - 1_000_000))
        return sorted(self.sets.get((newest, page), ())), sorted(self.sets.get((before, page), ())), late

    def _is_gone(self, start: int) -> bool:
        return start + self.windows.size + self.expires <= self.time


@drawn(40)
@given(SENT, CUTS, WINDOWS, st.integers(0, 12))
def test_any_history_gives_the_sets_and_the_late_records_of_the_oracle(
    sent: list[tuple[str, int, str, int]], cuts: list[str], window: tuple[int, int], expires: int
) -> None:
    app = flows.App("a")
    visits, out = app.topic("visits", value=Visit), app.topic("out", value=dict)
    size, step = (n * QUARTER / 1e6 for n in window)
    readers = app.set_table("readers", value=int).hopping(size, step, expires=expires * QUARTER / 1e6)

    @app.agent(visits, sink=[out])
    async def watch(stream):
        async for visit in stream:
            getattr(readers[visit.page], visit.op)(visit.user)
            yield {"now": sorted(readers[visit.page]), "before": sorted(readers[visit.page].delta(1.0))}

    model = Sets(Windows(window[0] * QUARTER, window[1] * QUARTER), expires * QUARTER)
    seen = [model.record(page, user, op, at * QUARTER) for page, user, op, at in sent]
    with app.test() as t:
        left = list(sent)
        while left:
            cut = cuts[len(left) % len(cuts)]
            some = left[: 4 if "batch" in cut else 1]
            with t.batch():
                for page, user, op, at in some:
                    t.send(visits, Visit(page, user, op), at=at * QUARTER / 1e6)
                if cut == "crash in batch":
                    t.crash()
            left = left[len(some) :]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        rows = {(round(r["window_start"] * 1e6), r["key"], r["value"]) for r in t.table(readers).rows()}
        assert rows == {(start, page, user) for (start, page), users in model.sets.items() for user in users}
        assert [(r.value["now"], r.value["before"]) for r in t.output(out)] == [s[:2] for s in seen]
        assert [[round(w * 1e6) for w in r.windows] for r in t.late(readers)] == [s[2] for s in seen if s[2]]
