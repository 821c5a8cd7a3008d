"""Routing against plain Python: each record once, in its place and order, wherever commits and crashes fell."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import col, when
from flows.brokers.base import TopicPartition
from flows.testing import Driver
from tests.drawn import drawn

TOPICS = ("small", "large", "odd", "even")
PARTITIONS = 3


class Item(flows.Record):
    id: int
    n: int | None
    kind: str | None


ITEMS = st.lists(
    st.tuples(st.integers(0, 1), st.none() | st.integers(-3, 9), st.sampled_from(["a", "b", "none", "raises", None])),
    max_size=25,
)
CUTS = st.lists(st.sampled_from(["one", "batch", "batch", "crash", "crash in batch", "rebalance"]), max_size=8)


def wanted(items: list[tuple[int, Item]]) -> tuple[dict[tuple[str, int], list[int]], list[int]]:
    """Return what is in each partition of each topic, by the source partition, and which records are refused."""
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    refused = []
    for _, item in items:
        if item.n is None:
            refused.append(item.id)
        else:
            found["large" if item.n > 5 else "small", item.n % PARTITIONS].append(item.id)
        if item.kind in ("none", "raises") or item.n is None:
            refused.append(item.id)
        else:
            found["odd" if item.n % 2 else "even", len(item.kind or "") % PARTITIONS].append(item.id)
    return found, refused


def declared() -> flows.App:
    app = flows.App("market")
    items = app.topic("items", value=Item, partitions=2)
    small, large, odd, even = (app.topic(name, value=Item, partitions=PARTITIONS) for name in TOPICS)
    size = when(col("n") > 5).then("large").when(col("n") <= 5).then("small").otherwise(None)
    items.to(size, topics={"large": large, "small": small}, partition=col("n") % PARTITIONS)

    def parity(item: Item) -> flows.Topic:
        if item.kind == "raises":
            raise ValueError(item.id)
        if item.kind == "none" or item.n is None:
            return None  # type: ignore[return-value]
        return odd if item.n % 2 else even

    items.to(parity, topics=[odd, even], partition=lambda item, count: len(item.kind or "") % count)
    return app


def found_in(t: Driver, topic: str, partition: int, source: dict[int, int]) -> dict[int, list[int]]:
    """Return the ids in a partition, by the partition that they came from: there they have an order."""
    records = t._broker.read(TopicPartition(topic, partition), 0)
    found: dict[int, list[int]] = defaultdict(list)
    for value in [] if records is None else records.values:
        found[source[_id(value)]].append(_id(value))
    return found


def _id(value: bytes | None) -> int:
    return int((value or b"").split(b'"id":')[1].split(b",")[0])


@drawn(40)
@given(ITEMS, CUTS)
def test_any_history_goes_where_it_belongs(rows: list[Any], cuts: list[str]) -> None:
    items = [(partition, Item(id, n, kind)) for id, (partition, n, kind) in enumerate(rows)]
    with declared().test() as t:
        left, turn = list(items), 0
        while left:
            cut = cuts[turn % len(cuts)] if cuts else "one"
            turn += 1
            some, left = (left[:4], left[4:]) if "batch" in cut else (left[:1], left[1:])
            with t.batch():
                for partition, item in some:
                    t.send("items", item, partition=partition)
                if cut == "crash in batch":
                    t.crash()
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        expected, refused = wanted(items)
        source = {item.id: partition for partition, item in items}
        for topic in TOPICS:
            for partition in range(PARTITIONS):
                by_source: dict[int, list[int]] = defaultdict(list)
                for id in expected[topic, partition]:
                    by_source[source[id]].append(id)
                assert found_in(t, topic, partition, source) == by_source
        assert sorted(_id(letter.value) for letter in t.dead_letters()) == sorted(refused)
