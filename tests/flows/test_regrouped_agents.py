"""Agents over groups: the records of a group meet in one task, exactly once, wherever they came from."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import col
from flows.testing import Driver
from tests.drawn import drawn


class Place(flows.Record):
    city: str
    country: str = "NO"


class Visit(flows.Record):
    user: str
    page: str
    n: int
    at: float
    tags: list[str] = []
    place: Place | None = None
    born: dt.date | None = None


class Site:
    """Visits of users, and an agent that counts by page and tells each number."""

    def __init__(self, *keys: str, retries: int = 0, **options: Any) -> None:
        self.app = flows.App("site")
        self.visits = self.app.topic("visits", value=Visit, key="user", timestamp="at", partitions=3)
        self.out = self.app.topic("out", value=dict)
        self.counts = counts = self.app.table("counts", value=int, default=int)
        self.seen: list[Any] = []

        @self.app.agent(self.visits.group_by(*(keys or ("page",)), **options), sink=[self.out], retries=retries)
        async def count(stream):
            async for event in stream.events():
                self.seen.append(event)
                if event.value.n < 0:
                    raise ValueError("as told")
                counts[event.value.page] += event.value.n
                yield {"page": event.value.page, "count": counts[event.value.page]}

        self.count = count

    def send(self, t: Driver, user: str, page: str, n: int = 1, at: float = 0.0, **more: Any) -> None:
        t.send(self.visits, Visit(user, page, n, at, **more))


class InsideSite(Site):
    """The same, grouped inside of the agent."""

    def __init__(self) -> None:
        self.app = flows.App("site")
        self.visits = self.app.topic("visits", value=Visit, key="user", timestamp="at", partitions=3)
        self.out = self.app.topic("out", value=dict)
        self.counts = counts = self.app.table("counts", value=int, default=int)

        @self.app.agent(self.visits, sink=[self.out], retries=0)
        async def count(stream):
            async for visit in stream.group_by(Visit.page, partitions=2):
                if visit.n < 0:
                    raise ValueError("as told")
                counts[visit.page] += visit.n
                yield {"page": visit.page, "count": counts[visit.page]}


def test_the_records_of_a_group_meet_in_one_task() -> None:
    site = Site(partitions=2)
    with site.app.test() as t:
        for user in "abcdef":
            site.send(t, user, "/", tags=["x"], place=Place("Oslo"), born=dt.date(2000, 1, 2))
        assert t.table(site.counts).rows() == [{"key": "/", "value": 6}]
        assert [r.value["count"] for r in t.output(site.out)] == [1, 2, 3, 4, 5, 6]
    event = site.seen[0]
    assert event.value == Visit("a", "/", 1, 0.0, ["x"], Place("Oslo"), dt.date(2000, 1, 2))
    assert (event.key, event.timestamp) == ("/", 0.0)


def test_by_several_columns_and_without_a_move() -> None:
    site = Site("page", "n")
    with site.app.test() as t:
        site.send(t, "a", "/", 2)
        assert site.seen[0].key == ("/", 2)
    assert [s.name for s in site.app.plan().subtopologies] == ["visits", "counts"]
    same = Site("user", "page")
    assert [s.name for s in same.app.plan().subtopologies] == ["visits"]
    with same.app.test() as t:
        assert t.ask(same.count, Visit("a", "/", 2, 0.0)) == {"page": "/", "count": 2}


def test_a_failing_record_is_a_dead_letter_that_can_be_read() -> None:
    site = Site(retries=1)
    with site.app.test() as t:
        site.send(t, "a", "/", -1)
        (letter,) = t.dead_letters()
        assert (letter.step, letter.topic) == ("count", "site-count-repartition")
        assert msgspec.json.decode(letter.value or b"")["user"] == "a"
        assert letter.key == b'"/"'
        site.send(t, "a", "/", 3)
        assert t.table(site.counts).get("/") == 3


def test_nothing_can_be_sent_to_it_but_through_its_topic() -> None:
    site = Site()
    with site.app.test() as t, pytest.raises(RuntimeError, match="agent 'count' reads behind a group_by"):
        t.ask(site.count, {})


def test_columns_of_a_shaped_stream() -> None:
    app = flows.App("site")
    visits, out = app.topic("visits", value=Visit, key="user", timestamp="at"), app.topic("out", value=dict)

    @app.agent(visits.filter(col("n") > 0).select("page", twice=col("n") * 2).group_by("page"), sink=[out])
    async def tell(stream):
        async for key, row in stream.items():
            yield {"key": key, "twice": row.twice}

    with app.test() as t:
        t.send(visits, Visit("a", "/", 0, 0.0))
        t.send(visits, Visit("a", "/", 4, 0.0))
        assert [r.value for r in t.output(out)] == [{"key": "/", "twice": 8}]


def test_inside_of_an_agent_it_is_the_same() -> None:
    app = flows.App("site")
    visits = app.topic("visits", value=Visit, key="user", timestamp="at", partitions=3)
    by_page, by_user = app.table("by_page", value=int, default=int), app.table("by_user", value=int, default=int)

    @app.agent(visits)
    async def pages(stream):
        async for visit in stream.group_by(Visit.page, name="pages", partitions=2):
            by_page[visit.page] += visit.n

    @app.agent(visits.filter(col("n") > 0))
    async def users(stream):
        async for visits in stream.group_by("user").take(1):
            by_user[visits[0].user] += 1

    plan = app.plan()
    assert [s.inputs for s in plan.subtopologies] == [("visits",), ("site-pages-pages-repartition",)]
    with app.test() as t:
        for n, user in enumerate("abcdef"):
            t.send(visits, Visit(user, "/xy"[n % 3], 1, 0.0))
            t.crash() if n % 2 else t.rebalance()
        assert [r["value"] for r in t.table(by_page).rows()] == [2, 2, 2]
        assert [r["value"] for r in t.table(by_user).rows()] == [1] * 6


def test_inside_of_an_agent_without_source_it_is_refused() -> None:
    app = flows.App("site")
    visits = app.topic("visits", value=Visit, key="user")
    made: dict[str, Any] = {}
    exec("async def inside(stream):\n    async for _ in stream.group_by('page'):\n        pass\n", made)
    app.agent(visits, retries=0)(made["inside"])

    from flows.errors import AgentError

    with pytest.raises(AgentError, match=r"declare it: @app.agent\(topic.group_by\('page'\)\)"), app.test() as t:
        t.send(visits, Visit("a", "/", 1, 0.0))


CUTS = st.lists(st.sampled_from(["commit", "batch", "crash", "crash in batch", "rebalance"]), min_size=1, max_size=8)
SENT = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(-1, 3)), max_size=20)


@drawn(30)
@given(SENT, CUTS, st.sampled_from([1, 2, 3, None]))
def test_any_history_counts_each_record_once(sent: list[Any], cuts: list[str], partitions: int | None) -> None:
    site = InsideSite() if partitions is None else Site(partitions=partitions)
    with site.app.test() as t:
        left = list(enumerate(sent))
        while left:
            cut = cuts[len(left) % len(cuts)]
            some = left[: 4 if "batch" in cut else 1]
            with t.batch():
                for i, (user, page, n) in some:
                    site.send(t, user, page, n, float(i))
                if cut == "crash in batch":
                    t.crash()
            left = left[len(some) :]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        total: dict[str, int] = defaultdict(int)
        counted: dict[str, int] = defaultdict(int)
        for _, page, n in sent:
            if n >= 0:
                total[page] += n
                counted[page] += 1
        assert {r["key"]: r["value"] for r in t.table(site.counts).rows()} == total
        told: dict[str, list[int]] = defaultdict(list)
        for record in t.output(site.out):
            told[record.value["page"]].append(record.value["count"])
        assert {page: (len(numbers), numbers[-1]) for page, numbers in told.items()} == {
            page: (counted[page], total[page]) for page in total
        }
        assert all(numbers == sorted(numbers) for numbers in told.values())
        assert len(t.dead_letters()) == sum(n < 0 for _, _, n in sent)
