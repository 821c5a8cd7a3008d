"""Each query of Nexmark against SQL over the same events, with batches cut in two ways, with crashes and without."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import polars as pl
import pytest

from flows.testing import Driver
from tests.nexmark.house import events, output, play, query, rows, sql

CUTS = [(997, False), (400, True)]


@pytest.fixture(params=CUTS, ids=["plain", "crashes"])
def cut(request: pytest.FixtureRequest) -> tuple[int, bool]:
    found: tuple[int, bool] = request.param
    return found


def played(name: str, cut: tuple[int, bool]) -> Iterator[tuple[Driver, ModuleType]]:
    module = query(name)
    with module.app.test() as t:
        play(t, *cut)
        assert t.dead_letters() == []
        yield t, module


def test_the_events_are_nexmarks() -> None:
    kinds = [topic for topic, _ in events()]
    assert [kinds.count(f"nexmark-{kind}s") for kind in ("person", "auction", "bid")] == [120, 360, 5520]
    times = [event.at for _, event in events()]
    disorder = max(a - b for i, a in enumerate(times) for b in times[i + 1 : i + 100])
    assert 0.1 < disorder < 0.5
    ((most,),) = sql("SELECT count(*) AS n FROM bid GROUP BY auction ORDER BY n DESC LIMIT 1")
    assert most > 500  # hot keys


def test_q0(cut: tuple[int, bool]) -> None:
    for t, q in played("q0", cut):
        assert output(t, q.out, "auction", "bidder", "price", "at") == sql("SELECT auction, bidder, price, ts FROM bid")


def test_q1(cut: tuple[int, bool]) -> None:
    for t, q in played("q1", cut):
        found = output(t, q.out, "auction", "bidder", "at", "price")
        expected = sql("SELECT auction, bidder, ts, price * 0.908::DOUBLE FROM bid")
        assert [row[:3] for row in found] == [row[:3] for row in expected]
        assert [row[3] for row in found] == pytest.approx([row[3] for row in expected], rel=1e-12)


def test_q2(cut: tuple[int, bool]) -> None:
    for t, q in played("q2", cut):
        expected = sql("SELECT auction, price FROM bid WHERE auction % 123 = 0")
        assert len(expected) > 10
        assert output(t, q.out, "auction", "price") == expected


def test_q3(cut: tuple[int, bool]) -> None:
    expected = sql(
        "SELECT P.name, P.city, P.state, A.id FROM auction A JOIN person P ON A.seller = P.id "
        "WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')"
    )
    assert len(expected) > 10
    for t, q in played("q3", cut):
        assert rows(t, q.local.name, "name", "city", "state", "id") == expected


def test_q4(cut: tuple[int, bool]) -> None:
    expected = sql(
        "SELECT category, avg(final) FROM (SELECT max(B.price) AS final, A.category FROM auction A, bid B "
        "WHERE A.id = B.auction AND B.ts BETWEEN A.ts AND A.expires GROUP BY A.id, A.category) GROUP BY category"
    )
    assert len(expected) == 5
    for t, q in played("q4", cut):
        assert t.late(q.placed) == []
        found = rows(t, q.average.name, "category", "price")
        assert [category for category, _ in found] == [category for category, _ in expected]
        assert [price for _, price in found] == pytest.approx([price for _, price in expected], rel=1e-12)


HOPS = """WITH counts AS (
    SELECT auction, s AS window_start, count(*) AS num
    FROM (SELECT auction, unnest([floor(ts / 2) * 2 - 2 * i FOR i IN range(5)]) AS s FROM bid)
    GROUP BY auction, s
)"""


def test_q5(cut: tuple[int, bool]) -> None:
    expected = sql(
        f"{HOPS} SELECT A.window_start, A.auction, A.num FROM counts A JOIN "
        "(SELECT window_start, max(num) AS most FROM counts GROUP BY window_start) B "
        "ON A.window_start = B.window_start AND A.num >= B.most"
    )
    for t, q in played("q5", cut):
        found = t.table(q.hot).rows()
        assert expected == sorted(
            (row["window_start"], auction, row["hot"].num) for row in found for auction in row["hot"].auctions
        )


def test_q7(cut: tuple[int, bool]) -> None:
    expected = sql(
        "SELECT B.auction, B.price, B.bidder, B.ts FROM bid B JOIN "
        "(SELECT max(price) AS price, floor(ts / 10) AS w FROM bid GROUP BY w) M "
        "ON B.price = M.price AND floor(B.ts / 10) = M.w"
    )
    assert len(expected) >= 3
    for t, q in played("q7", cut):
        assert output(t, q.out, "auction", "price", "bidder", "at") == expected


def test_q8(cut: tuple[int, bool]) -> None:
    expected = sql(
        "SELECT P.id, P.name, P.w FROM (SELECT id, name, floor(ts / 10) * 10 AS w FROM person GROUP BY id, name, w) P "
        "JOIN (SELECT seller, floor(ts / 10) * 10 AS w FROM auction GROUP BY seller, w) A "
        "ON P.id = A.seller AND P.w = A.w"
    )
    assert len(expected) > 10
    for t, q in played("q8", cut):
        assert rows(t, q.new.name, "person", "name", "window_start") == expected


def test_q11(cut: tuple[int, bool]) -> None:
    expected = sql(
        "WITH marked AS (SELECT bidder, ts, ts - lag(ts) OVER w > 10 AS begins FROM bid WINDOW w AS "
        "(PARTITION BY bidder ORDER BY ts)), numbered AS (SELECT bidder, ts, sum(coalesce(begins, true)::INT) "
        "OVER (PARTITION BY bidder ORDER BY ts ROWS UNBOUNDED PRECEDING) AS s FROM marked) "
        "SELECT bidder, min(ts), max(ts), count(*) FROM numbered GROUP BY bidder, s"
    )
    for t, q in played("q11", cut):
        assert rows(t, q.sessions.name, "bidder", "window_start", "window_end", "bids") == expected


@pytest.mark.parametrize("crashes", [False, True])
def test_q12(crashes: bool) -> None:
    """By the clock as it stood when a bid was taken for good: a crash puts it off to the next moment."""
    module, taken, size = query("q12"), [], 300
    with module.app.test() as t:
        for begin in range(0, 6_000, size):
            sent = events()[begin : begin + size]
            with t.batch():
                for topic, event in sent:
                    t.send(topic, event)
                if crashes and begin % 900 == 0:
                    t.crash()
            taken += [{"bidder": e.bidder, "now": t.clock.now()} for topic, e in sent if topic == "nexmark-bids"]
            t.advance("1700ms")
            if crashes and begin % 1500 == 0:
                t.crash()
                t.rebalance()
        t.advance("10s")
        expected = sql(
            "SELECT bidder, floor(now / 10) * 10 AS w, count(*) FROM taken GROUP BY bidder, w",
            taken=pl.DataFrame(taken),
        )
        assert rows(t, "q12_bids", "bidder", "window_start", "bids") == expected
