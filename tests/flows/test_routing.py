"""Where records go: to topics by their content, to partitions by a rule, to the dead letters where none holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flows
from dsl.plan.nodes import RepartitionNode
from flows import DeclarationError, col, count, when
from flows.brokers.base import TopicPartition


class Item(flows.Record):
    kind: str | None
    n: int | None = 0
    owner: str = "o"


def market(**topic: Any) -> tuple[flows.App, flows.Topic, flows.Topic, flows.Topic]:
    app = flows.App("market")
    items = app.topic("items", value=Item)
    books = app.topic("books", value=Item, partitions=3, **topic)
    return app, items, books, app.topic("toys", value=Item, partitions=3)


def partitions(t: Any, topic: flows.Topic) -> list[list[Any]]:
    """Return the numbers in each partition of a topic."""
    found = []
    for partition in range(topic.node.partitions):
        records = t._broker.read(TopicPartition(topic.name, partition), 0)
        found.append(
            [] if records is None else [int(value.split(b'"n":')[1].split(b",")[0]) for value in records.values]
        )
    return found


def send(t: Any, topic: flows.Topic, *items: Item) -> None:
    with t.batch():
        for item in items:
            t.send(topic, item)


def kinds(t: Any, topic: flows.Topic) -> list[Any]:
    return [(r.value.kind, r.value.n) for r in t.output(topic)]


def reasons(t: Any) -> list[tuple[str, int, str]]:
    return [(d.topic, d.offset, d.reason) for d in t.dead_letters()]


def test_an_expression_chooses_the_topic() -> None:
    app, items, books, toys = market()
    items.to(col("kind").lower(), topics={"book": books, "novel": books, "toy": toys})
    with app.test() as t:
        send(t, items, Item("Book", 1), Item("toy", 2), Item("novel", 3), Item("film", 4), Item(None, 5))
        assert kinds(t, books) == [("Book", 1), ("novel", 3)]
        assert kinds(t, toys) == [("toy", 2)]
        known = "for which no topic is declared: only 'book', 'novel', 'toy'"
        assert reasons(t) == [
            ("items", 3, f"lower(kind) is 'film', {known}"),
            ("items", 4, f"lower(kind) is None, {known}"),
        ]


def test_null_may_have_a_topic_and_columns_may_be_computed() -> None:
    app, items, books, toys = market()
    rows = items.with_columns(odd=when(col("n").is_null()).then(None).otherwise(col("n") % 2 == 1))
    rows.to(col("odd"), topics={True: books, None: toys})
    with app.test() as t:
        send(t, items, Item("a", 1), Item("b", None), Item("c", 2))
        assert kinds(t, books) == [("a", 1)]
        assert kinds(t, toys) == [("b", None)]
        assert [reason for _, _, reason in reasons(t)] == [
            "odd is False, for which no topic is declared: only True, None"
        ]


def test_a_function_chooses_the_topic() -> None:
    app, items, books, toys = market()
    other = app.topic("films", value=Item)

    def choose(item: Item) -> Any:
        if item.n == 0:
            raise ValueError("no number")
        return {"book": books, "toy": toys, "film": other}.get(item.kind or "")

    items.to(choose, topics=[books, toys])
    with app.test() as t:
        send(t, items, *(Item(kind, n) for n, kind in enumerate(["book", "book", "toy", "film", "?"])))
        assert kinds(t, books) == [("book", 1)]
        assert kinds(t, toys) == [("toy", 2)]
        name, among = choose.__qualname__, "expected a topic among books, toys"
        assert reasons(t) == [
            ("items", 0, f"{name} raised ValueError: no number"),
            ("items", 3, f"{name} returned topic 'films', {among}"),
            ("items", 4, f"{name} returned None, {among}"),
        ]


def test_values_without_columns_are_routed_by_a_function() -> None:
    app = flows.App("market")
    source, a, b = (app.topic(name, value=dict) for name in ("source", "a", "b"))
    source.to(lambda value: a if value["n"] else b, topics=[a, b], partition=lambda value, partitions: 0)
    with app.test() as t:
        t.send(source, {"n": 1})
        t.send(source, {"n": 0})
        t.send(source, {})
        assert ([r.value for r in t.output(a)], [r.value for r in t.output(b)]) == ([{"n": 1}], [{"n": 0}])
        assert [reason.split(" raised ")[1] for _, _, reason in reasons(t)] == ["KeyError: 'n'"]


@pytest.mark.parametrize("rule", [col("n") - 1, lambda item, partitions: item.n - 1])
def test_a_rule_chooses_the_partition(rule: Any) -> None:
    app, items, books, toys = market()
    items.to(col("kind"), topics={"book": books, "toy": toys}, partition=rule)
    with app.test() as t:
        send(t, items, Item("book", 3), Item("toy", 1), Item("book", 1), Item("book", 4), Item("toy", 0))
        assert partitions(t, books) == [[1], [], [3]]
        assert partitions(t, toys) == [[1], [], []]
        assert [reason.split(" gave ")[1] for _, _, reason in reasons(t)] == [
            "3, expected a partition: 0 to 2",
            "-1, expected a partition: 0 to 2",
        ]


@pytest.mark.parametrize("wrong", ["1", None, True, 1.0, 3, -1])
def test_what_is_no_partition_is_refused(wrong: Any) -> None:
    app, items, books, _ = market(partitioner=lambda key, partitions: wrong)
    items.to(books)
    with app.test() as t:
        t.send(items, Item("book"))
        assert [reason.split(" gave ")[1] for _, _, reason in reasons(t)] == [
            f"{wrong!r}, expected a partition: 0 to 2"
        ]


def by_letter(key: bytes | None, partitions: int) -> int:
    return key[0] % partitions if key else 0


def test_a_topic_has_its_own_partitioner_for_streams_agents_and_tables() -> None:
    app, items, books, _ = market(key="owner", partitioner=by_letter)
    keyed = app.topic("keyed", value=dict, partitions=3, partitioner=by_letter)
    items.to(books)

    @app.agent(items, sink=[books])
    async def again(stream):
        async for item in stream:
            yield Item(item.kind, (item.n or 0) + 10, item.owner)
            await books.send(Item(item.kind, (item.n or 0) + 20, item.owner))

    books.group_by("owner").agg(n=count()).table("of_owner").to(keyed)
    with app.test() as t:
        send(t, items, *(Item("book", n, owner) for n, owner in enumerate("abcb")))
        assert [sorted(found) for found in partitions(t, books)] == [
            sorted(m for n, owner in enumerate("abcb") if ord(owner) % 3 == p for m in (n, n + 10, n + 20))
            for p in range(3)
        ]
        for partition, owner in enumerate("cab"):  # 99, 97 and 98 modulo 3
            records = t._broker.read(TopicPartition("keyed", partition), 0)
            assert records is not None
            assert set(records.keys) == {owner.encode()}
        assert t.dead_letters() == []


def test_grouping_by_the_key_of_such_a_topic_moves_nothing() -> None:
    app, items, books, _ = market(key="owner", partitioner=by_letter)
    items.through(books).group_by("owner").agg(n=count()).table("t")
    assert "t.group_by" not in app.plan().nodes


@pytest.mark.parametrize("how", ["raises", "out of range"])
def test_a_partitioner_that_fails_sends_to_the_dead_letters(how: str) -> None:
    def choose(key: bytes | None, partitions: int) -> int:
        if key == b"x":
            return partitions if how == "out of range" else int("x")
        return 0

    app, items, books, _ = market(key="owner", partitioner=choose)
    table = items.group_by("owner").agg(n=count()).table("t")
    items.to(books)
    table.to(app.topic("changes", value=dict, partitions=2, partitioner=choose))
    with app.test() as t:
        send(t, items, Item("a", 1, "x"), Item("a", 2, "y"))
        assert kinds(t, books) == [("a", 2)]
        assert len(t.table(table).rows()) == 2
        found = reasons(t)
        assert [(topic, offset) for topic, offset, _ in found] == [("items", 0), ("t", 0)]
        assert all(f"partitioner {choose.__qualname__}" in reason for _, _, reason in found)


def test_an_agent_has_routers_among_its_sinks() -> None:
    app, items, books, toys = market()
    every = app.topic("every", value=Item)

    def choose(item: Item) -> flows.Topic:
        return books if item.kind == "book" else toys if item.kind == "toy" else items

    @app.agent(items, sink=[every, flows.router(choose, topics=[books, toys])], retries=0)
    async def split(stream):
        async for item in stream:
            yield item

    with app.test() as t:
        send(t, items, Item("book", 1), Item("film", 2), Item("toy", 3))
        assert kinds(t, books) == [("book", 1)]
        assert kinds(t, toys) == [("toy", 3)]
        assert kinds(t, every) == [("book", 1), ("toy", 3)]
        ((_, offset, reason),) = reasons(t)
        assert offset == 1
        assert "returned topic 'items', expected a topic among books, toys" in reason


def test_tables_over_topics_of_different_partitioners_are_refused() -> None:
    app = flows.App("shared")
    left = app.topic("left", value=Item, key="owner", partitioner=by_letter)
    right = app.topic("right", value=Item, key="owner")
    table = app.table("seen", key=str, value=int, default=int)

    async def see(stream: Any) -> None:
        async for item in stream:
            table[item.owner] += 1

    app.agent(left, name="one")(see)
    app.plan()
    app.agent(right, name="two")(see)
    with pytest.raises(DeclarationError, match=r"left by by_letter, right by the hash of the key.*same partitioner"):
        app.plan()


def test_topics_of_one_partitioner_may_share_a_table() -> None:
    app = flows.App("shared")
    table = app.table("seen", key=str, value=int, default=int)

    async def see(stream: Any) -> None:
        async for item in stream:
            table[item.owner] += 1

    for name in ("left", "right"):
        app.agent(app.topic(name, value=Item, key="owner", partitioner=by_letter), name=f"from_{name}")(see)
    app.plan()


def test_a_rule_may_not_part_the_keys_of_a_table() -> None:
    app, items, books, _ = market(key="owner")
    items.to(books, partition=col("n") % 3)
    app.plan()
    books.group_by("owner").agg(n=count()).table("t")
    with pytest.raises(DeclarationError, match=r"'owner', the key of topic 'books', but items.to chooses"):
        app.plan()


def test_a_rule_may_not_part_the_keys_of_a_join() -> None:
    app, items, books, _ = market(key="owner", partitioned_by=None)
    items.to(books, partition=col("n") % 3)
    books.join(books.filter(col("n") > 0), within="1m", suffix="_too")
    with pytest.raises(DeclarationError, match=r"'owner', the key of topic 'books', but items.to chooses"):
        app.plan()


def test_topics_of_one_partitioner_are_joined_where_they_are() -> None:
    app, _, books, _ = market(key="owner", partitioner=by_letter)
    films = app.topic("films", value=Item, partitions=3, key="owner", partitioner=by_letter)
    games = app.topic("games", value=Item, partitions=3, key="owner", partitioner=lambda key, partitions: 0)
    books.join(films, within="1m", suffix="_too", name="alike")
    books.join(games, within="1m", suffix="_too", name="unlike")
    moved = [node.id for node in app.plan().of_type(RepartitionNode)]
    assert moved == ["unlike.left", "unlike.right"]


def test_another_partitioner_is_another_state() -> None:
    from dsl.plan.fingerprint import describe, differences

    def described(partitioner: Callable[[bytes | None, int], int] | None) -> Any:
        app, _, books, _ = market(key="owner", partitioner=partitioner)
        books.group_by("owner").agg(n=count()).table("t")
        return describe(app.plan(), "t")

    assert differences(described(None), described(by_letter)) == [
        "partition was that of the input's key (owner), is that of the input's key (owner) by by_letter"
    ]
    assert differences(described(by_letter), described(by_letter)) == []
