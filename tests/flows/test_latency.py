"""Latencies: what a histogram of buckets says, against the numbers themselves; and that commits end them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows.latency import BOUNDS, SAMPLE, TOLD_BOUNDS, Latencies, Marks
from flows.testing import Driver

NOW = 1_700_000_000
MS = st.integers(0, 9_000_000)


def latencies(took: list[int]) -> Latencies:
    """Return the latencies of one chunk of records that took so many milliseconds."""
    found = Latencies()
    found.add(Marks([NOW * 1000 - each for each in took]), NOW)
    return found


@given(st.lists(MS, min_size=1, max_size=SAMPLE), st.floats(0, 1))
def test_quantiles_are_rounded_up_by_little(took: list[int], q: float) -> None:
    exact = sorted(took)[max(1, math.ceil(q * len(took))) - 1] / 1000
    found = latencies(took).quantile(q)
    assert exact <= found <= max(exact * 1.025, 0.001) + 1e-9


@given(st.lists(MS, max_size=SAMPLE), st.integers(1, SAMPLE))
def test_chunks_add_up(took: list[int], size: int) -> None:
    together, apart = latencies(took), Latencies()
    for chunk in (took[i : i + size] for i in range(0, len(took), size)):
        before = Latencies()
        before += apart
        apart += latencies(chunk)
        assert apart.since(before).counts.tolist() == latencies(chunk).counts.tolist()
    assert apart.counts.tolist() == together.counts.tolist()
    assert apart.total == pytest.approx(together.total)
    assert apart.longest == together.longest


@given(st.lists(MS, max_size=SAMPLE))
def test_told_buckets_count_what_took_at_most_that_long(took: list[int]) -> None:
    wanted = [sum(t <= round(bound * 1000) for t in took) for bound in TOLD_BOUNDS]
    assert latencies(took).up_to(TOLD_BOUNDS) == wanted


@given(st.integers(0, 5 * SAMPLE + 3))
def test_a_sample_stands_for_all(count: int) -> None:
    marks = Marks(range(count))
    assert len(marks.times) <= SAMPLE
    assert marks.weights.sum() == count
    assert (marks.weights > 0).all()


def test_bounds_ascend_without_gaps() -> None:
    assert (np.diff(BOUNDS) > 0).all()
    assert (np.diff(BOUNDS) / BOUNDS[:-1]).max() <= 0.025 + 1e-9


def test_no_time_is_left_out_and_the_future_took_none() -> None:
    found = Latencies()
    found.add(Marks([-1, NOW * 1000 + 500]), NOW)
    assert (found.count, found.total, found.quantile(1.0)) == (1, 0.0, 0.0)


def test_beyond_the_last_bucket_the_longest_is_told() -> None:
    assert latencies([10, 10**10]).quantile(0.99) == 10**7
    assert math.isnan(latencies([]).quantile(0.5))


def test_a_record_is_done_when_it_is_committed() -> None:
    app = flows.App("shop")
    orders = app.topic("orders", value=dict)
    counts = app.table("counts", key=str, value=int, default=int)

    @app.agent(orders)
    async def take(stream):
        async for _ in stream:
            counts["all"] += 1

    with Driver(app) as t:
        with t.batch():
            t.send("orders", {})
            t.clock.advance(2.5)
            assert t.metrics.latencies() == {}
        t.send("orders", {}, at=t.clock.now() - 60)
        found = t.metrics.latencies()["orders"]
        assert found.count == 2
        assert found.quantile(0.5) == pytest.approx(2.5, rel=0.025)
        assert found.quantile(1.0) == pytest.approx(60, rel=0.025)
