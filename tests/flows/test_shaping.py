"""Streams as a whole: merged, sampled, without repetitions; the same however their histories are cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import col, count, tumbling
from flows.testing import Driver
from tests.drawn import drawn
from tests.flows.histories import CUTS, SECOND, Reading, histories, play
from tests.oracle.shaping import deduped, merged
from tests.oracle.tables import Sent


class Placed(flows.Record):
    """A reading with where it was."""

    key: str | None
    n: int | None
    at: float | None


def test_a_merged_stream_has_the_records_of_all() -> None:
    app = flows.App("o")
    a, b, c = (app.topic(name, value=Reading, timestamp="at", partitions=2) for name in "abc")
    out = app.topic("out", value=Reading)
    a.merge(b, c.filter(col("n") > 0)).to(out)
    with app.test() as t:
        for topic, n in ((a, 1), (b, 2), (c, 3), (c, -3)):
            t.send(topic, Reading("k", None, n, None, None, 1.0), partition=1)
        assert sorted(r.value.n for r in t.output(out)) == [1, 2, 3]


def test_untyped_streams_are_merged_for_agents() -> None:
    app = flows.App("o")
    a, b = (app.topic(name, value=dict) for name in "ab")
    out = app.topic("out", value=dict)
    seen: list[Any] = []

    @app.agent(a.merge(b), sink=[out])
    async def pass_on(stream: Any) -> Any:
        async for event in stream.events():
            seen.append((event.topic, event.key))
            yield event.value

    with app.test() as t:
        t.send(a, {"n": 1}, key="x")
        t.send(b, {"n": 2}, key="y")
        assert [r.value for r in t.output(out)] == [{"n": 1}, {"n": 2}]
    assert seen == [("a", "x"), ("b", "y")]


SEGMENTS = st.lists(st.tuples(histories(most=8), histories(most=8)), max_size=4)


@drawn(40)
@given(SEGMENTS, st.lists(st.sampled_from(["", "crash", "rebalance", "crash in batch"]), min_size=1, max_size=4))
def test_merged_records_come_in_the_order_of_time(
    segments: list[tuple[list[Sent], list[Sent]]], cuts: list[str]
) -> None:
    """Windows show the stream time, an agent the order."""
    app = flows.App("o")
    topics = [app.topic(name, value=Reading, key="key", timestamp="at", partitioned_by="murmur2") for name in "ab"]
    both = topics[0].merge(topics[1])
    table = both.group_by("key").window(tumbling("10s", grace="5s")).agg(n=count()).table("t")
    closed = both.group_by("key").window(tumbling("10s", emit="close")).agg(n=count()).table("closed")
    order = app.topic("order", value=dict)

    @app.agent(both, sink=[order])
    async def follow(stream: Any) -> Any:
        async for event in stream.events():
            yield {"is": [event.topic, event.offset]}

    taken = merged(segments, 2)
    offsets: Counter[int] = Counter()
    expected: Counter[tuple[str, int]] = Counter()
    in_time: Counter[tuple[str, int]] = Counter()
    places = []
    for place, sent, now in taken:
        places.append(["ab"[place], offsets[place]])
        offsets[place] += 1
        if sent.time is None or sent.fields["key"] is None:
            continue
        start = sent.time // (10 * SECOND) * 10 * SECOND
        if start + 15 * SECOND > now:
            expected[sent.fields["key"], start] += 1
        if start + 10 * SECOND > now:
            in_time[sent.fields["key"], start] += 1
    reached = taken[-1].now if taken else 0
    with app.test() as t:
        t._env.chunk, t._env.fetch_records, t._env.commit_rows = 1 + len(cuts) % 3, 1 + len(cuts) % 4, 1 + len(cuts)
        t.rebalance()
        for number, segment in enumerate(segments):
            cut = cuts[number % len(cuts)]
            with t.batch():
                for topic, history in zip(topics, segment, strict=True):
                    for sent in history:
                        t.send(topic, Reading(**sent.fields))
                if cut == "crash in batch":
                    t.crash()
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        assert [r.value["is"] for r in t.output(order)] == places
        assert rows_of(t, table) == expected
        ended = {g: n for g, n in in_time.items() if g[1] + 10 * SECOND <= reached}
        assert rows_of(t, closed) == ended


def rows_of(t: Driver, table: flows.Table) -> dict[tuple[str, int], int]:
    return {(row["key"], round(row["window_start"] * SECOND)): row["n"] for row in t.table(table).rows()}


@drawn(40)
@given(histories(2), CUTS)
def test_what_comes_by_two_ways_stands_side_by_side(history: list[Sent], cuts: list[str]) -> None:
    app = flows.App("o")
    readings = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    small, large = readings.filter(col("n") < 3), readings.filter(col("n") > -3)
    both = small.merge(large.with_columns(n=col("n") * 1), readings.filter(col("x").is_null()))
    out = app.topic("out", value=Placed, partitions=2, partitioner=lambda key, partitions: 0)
    both.select("key", "n", "at").to(out)
    expected: dict[int, list[int | None]] = defaultdict(list)
    for sent in history:
        n = sent.fields["n"]
        times = [n is not None and n < 3, n is not None and n > -3, sent.fields["x"] is None].count(True)
        expected[sent.partition] += [n] * times
    with app.test() as t:
        play(t, readings, history, cuts)
        found = [(r.key, r.value.n) for r in t.output(out)]
    for partition, numbers in expected.items():
        mine = [n for key, n in found if (0 if key is None else ord(key) % 2) == partition]
        assert mine == numbers


def test_silence_of_one_input_holds_time_back_until_it_is_idle() -> None:
    app = flows.App("o")
    a, b = (app.topic(name, value=Reading, key="key", timestamp="at", partitioned_by="murmur2") for name in "ab")
    table = a.merge(b).group_by("key").window(tumbling("10s", emit="close")).agg(n=count()).table("t")

    def send(topic: flows.Topic, at: float) -> None:
        t.send(topic, Reading("k", None, 1, None, None, at))

    with app.test(now=1000.0) as t:
        send(a, 100.0)
        send(b, 101.0)
        send(a, 150.0)
        assert t.table(table).rows() == []  # b may still bring records of 101
        send(b, 109.0)
        t.advance("1m")
        assert [(r["window_start"], r["n"]) for r in t.table(table).rows()] == [(100.0, 3), (150.0, 1)]
        t.crash()
        send(b, 109.5)
        send(b, 155.0)
        assert [r.timestamp for r in t.late(table)] == [109.5, 155.0]


@pytest.mark.parametrize("silent", ["a", "b"])
def test_one_silent_input_does_not_hold_back_for_ever(silent: str) -> None:
    app = flows.App("o")
    topics = {
        name: app.topic(name, value=Reading, timestamp="at", key="key", partitioned_by="murmur2") for name in "ab"
    }
    active = topics["b" if silent == "a" else "a"]
    window = tumbling("10s", emit="close")
    table = topics["a"].merge(topics["b"]).group_by("key").window(window).agg(n=count()).table("t")

    def send(at: float) -> None:
        t.send(active, Reading("k", None, 1, None, None, at))

    with app.test(now=1000.0) as t:
        send(100.0)
        for _ in range(20):  # one goes on while the other never had a record
            t.advance("2s")
            send(100.0 + t.clock.now() - 1000.0)
        closed = t.table(table).rows()
        assert [r["window_start"] for r in closed][:2] == [100.0, 110.0]
        for number in range(3):
            t.crash()
            send(101.0 + number)  # too late, however often the task starts anew
        assert t.table(table).rows() == closed
        assert [r.timestamp for r in t.late(table)] == [101.0, 102.0, 103.0]


@drawn(50)
@given(histories(2, most=40), CUTS, st.sampled_from([1, 5, 30, 400]))
def test_repetitions_are_left_out(history: list[Sent], cuts: list[str], within: int) -> None:
    app = flows.App("o")
    readings = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    places = app.topic("places", value=dict)
    firsts = readings.dedupe("key", "other", within=f"{within}s")
    table = firsts.group_by("key").agg(n=count()).table("t")

    @app.agent(firsts, sink=[places])
    async def tell(stream: Any) -> Any:
        async for event in stream.events():
            yield {"place": [event.partition, event.offset]}

    expected = deduped(history, ("key", "other"), within * SECOND)
    with app.test() as t:
        play(t, readings, history, cuts)
        assert sorted(tuple(r.value["place"]) for r in t.output(places)) == sorted(expected.kept)
        refused = [
            (d.partition, d.offset, d.reason.split(" for ")[0].split(", so")[0].split(" whether")[0])
            for d in t.dead_letters()
        ]
        assert sorted(refused) == sorted(expected.refused)
        assert sum(row["n"] for row in t.table(table).rows()) == len(expected.kept)


def test_what_no_record_can_repeat_is_forgotten() -> None:
    app = flows.App("o")
    readings = app.topic("readings", value=Reading, key="key", timestamp="at")
    readings.dedupe("key", within="10s", name="first_readings").to(app.topic("out", value=Reading))
    with app.test() as t:
        for at in range(0, 100, 5):
            t.send(readings, Reading(f"k{at}", None, 1, None, None, float(at)))
        (task,) = t._tasks
        assert task.state is not None
        kept = [key[8:] for key, _ in task.state.scan("first_readings")]
        assert len(kept) == 4
        assert [key for key, _ in task.state.scan("first_readings.index")] == sorted(kept)


def test_a_dedupe_of_other_keys_is_another_state() -> None:
    from dsl.plan.fingerprint import describe, differences

    def described(*by: str) -> Any:
        app = flows.App("o")
        app.topic("readings", value=Reading, key="key", timestamp="at").dedupe(*by, within="1s", name="d")
        return describe(app.plan(), "d")

    assert differences(described("key"), described("key", "other")) == ["keys was key: str, is key: str, other: str"]


@drawn(30)
@given(histories(2, most=40), CUTS)
def test_a_sample_is_the_same_however_it_is_cut(history: list[Sent], cuts: list[str]) -> None:
    assert sampled(history, cuts) == sampled(history, [])


def sampled(history: list[Sent], cuts: list[str]) -> Any:
    app = flows.App("o")
    readings = app.topic("readings", value=Reading, key="key", timestamp="at", partitions=2)
    samples = [
        readings.sample(0.4),
        readings.sample(every=3),
        readings.sample(0.5, by="text"),
        readings.sample(every=2, by=["key", "n"]),
    ]
    with app.test() as t:
        play(t, readings, history, cuts)
        found = [Counter(str(r.value) for r in t.output(sample)) for sample in samples]
    for sent in history:  # of one text all or none, null too
        same = [s for s in history if s.fields["text"] == sent.fields["text"]]
        assert found[2][str(Reading(**sent.fields))] in (0, sum(s.fields == sent.fields for s in same))
    return found


def test_a_sample_is_as_large_as_it_says() -> None:
    app = flows.App("o")
    readings = app.topic("readings", value=Reading, timestamp="at")
    of_records, of_keys, third, all_ = (
        readings.sample(0.1),
        readings.sample(0.3, by="key"),
        readings.sample(every=3),
        readings.sample(1.0),
    )
    with app.test() as t:
        with t.batch():
            for n in range(3000):
                t.send(readings, Reading(f"k{n % 1000}", None, n, None, None, float(n)))
        assert 240 <= len(t.output(of_records)) <= 360
        keys = Counter(r.value.key for r in t.output(of_keys))
        assert 250 <= len(keys) <= 350
        assert set(keys.values()) == {3}
        assert [r.value.n for r in t.output(third)] == list(range(0, 3000, 3))
        assert len(t.output(all_)) == 3000


@pytest.mark.parametrize("stream", ["flat_map", "merge"])
def test_a_take_holds_what_has_one_offset_over_a_crash(stream: str) -> None:
    app = flows.App("o")
    a, b = (app.topic(name, value=Reading, timestamp="at") for name in "ab")
    out = app.topic("out", value=dict)
    source = a.merge(b) if stream == "merge" else a.flat_map(lambda r: [r, r], returns=Reading)

    @app.agent(source, sink=[out])
    async def gather(stream: Any) -> Any:
        async for readings in stream.take(4, within=1e6):
            yield {"n": [r.n for r in readings]}

    with app.test() as t:
        t.send(a, Reading("k", None, 1, None, None, 1.0))
        t.send(b, Reading("k", None, 2, None, None, 2.0))
        t.crash()
        t.send(a, Reading("k", None, 3, None, None, 3.0))
        t.send(b, Reading("k", None, 4, None, None, 4.0))
        wanted = [1, 2, 3, 4] if stream == "merge" else [1, 1, 3, 3]
        assert [r.value["n"] for r in t.output(out)] == [wanted]
