"""What streams know of their columns and their key, and when records must move."""

from __future__ import annotations

from typing import Any

import pytest

import flows
from dsl.plan.nodes import AggregateNode, RepartitionNode
from flows import Stream, Topic, col, count, first, last, lit, max, mean, min, quantile, sum, tumbling


class Click(flows.Record):
    user: str
    page: str | None
    price: int
    seconds: float | None
    at: float


class Visit(flows.Record):
    user: str


@pytest.fixture
def app() -> flows.App:
    return flows.App("web", partitions=4)


@pytest.fixture
def clicks(app: flows.App) -> Topic:
    return app.topic("clicks", value=Click, key="user", timestamp="at")


def visit(click: Click) -> Visit | None:
    return Visit(click.user)


def repartitions(stream: Stream, *keys: str, **options: Any) -> list[RepartitionNode]:
    stream.group_by(*keys, **options).agg(n=count()).table("t")
    return list(stream.app.plan().of_type(RepartitionNode))


KEPT: dict[str, Any] = {
    "as it is": lambda s: s,
    "filtered": lambda s: s.filter(col("price") > 1),
    "selected": lambda s: s.select("user"),
    "another column computed": lambda s: s.with_columns(page=lit("/")),
    "selected under its name": lambda s: s.select(user=col("user")),
    "written on the way": lambda s: s.to(s.app.topic("copies")),
}
LOST: dict[str, Any] = {
    "computed": lambda s: s.with_columns(user=col("user").lower()),
    "another column under its name": lambda s: s.with_columns(user=col("page").fill_null("")),
    "computed in select": lambda s: s.select("page", user=col("user") + "x"),
    "mapped": lambda s: s.map(visit),
}


@pytest.mark.parametrize("how", KEPT)
def test_records_stay_where_the_key_is_kept(clicks: Topic, how: str) -> None:
    assert repartitions(KEPT[how](clicks), "user") == []


@pytest.mark.parametrize("how", LOST)
def test_records_move_where_the_key_is_lost(clicks: Topic, how: str) -> None:
    (node,) = repartitions(LOST[how](clicks), "user")
    assert node.keys == ("user",)


def test_records_stay_where_the_key_is_one_of_several(clicks: Topic) -> None:
    assert repartitions(clicks, "page", "user") == []


def test_records_move_to_as_many_partitions_as_asked(clicks: Topic) -> None:
    (node,) = repartitions(clicks, "page", partitions=7)
    assert (node.topic, node.partitions) == ("web-t-repartition", 7)


def test_records_move_to_as_many_partitions_as_they_come_from(clicks: Topic) -> None:
    (node,) = repartitions(clicks.filter(col("price") > 1), "page")
    assert node.partitions == 4


def test_only_columns_that_are_used_move(clicks: Topic) -> None:
    clicks.group_by("page").agg(s=sum(col("price") * 2), n=count()).table("t")
    (node,) = clicks.app.plan().of_type(RepartitionNode)
    assert node.schema.names == ("page", "price")


def test_window_on_a_keyed_stream_groups_by_its_key(clicks: Topic) -> None:
    table = clicks.window(tumbling("1h")).agg(n=count()).table("t")
    assert table.keys == ("user",)
    assert table.schema.names == ("user", "window_start", "window_end", "n")


def test_types_of_aggregates(clicks: Topic) -> None:
    table = (
        clicks.group_by("user")
        .agg(
            n=count(), some=count("seconds"), ints=sum("price"), floats=sum("seconds"), average=mean("price"),
            perhaps=mean("seconds"), low=min("seconds"), high=max("page"), half=quantile("price", 0.5),
            early=first("page"), late=last("price"),
        )
        .table("t")
    )  # fmt: skip
    assert str(table.schema) == (
        "user: str, n: int, some: int, ints: int, floats: float, average: float, perhaps: float?, low: float?, "
        "high: str?, half: float, early: str?, late: int"
    )


@pytest.mark.parametrize(
    ("expr", "type_"),
    [
        (col("price") + 1, "int"),
        (col("price") / 2, "float"),
        (col("price") / col("price"), "float?"),
        (col("price") // 0, "int?"),
        (col("seconds").fill_null(0), "float"),
        (col("page").is_null(), "bool"),
        (col("page").length(), "int?"),
        (col("user").cast(int), "int?"),
        (col("price").cast(float), "float"),
        (flows.when(col("price") > 1).then(1).otherwise(2.5), "float"),
        (flows.when(col("price") > 1).then(1).otherwise(None), "int?"),
        (col("seconds") > 1, "bool?"),
        (col("price").sqrt(), "float?"),
    ],
    ids=repr,
)
def test_types_of_expressions(clicks: Topic, expr: flows.Expr, type_: str) -> None:
    schema = clicks.with_columns(x=expr).schema
    assert schema is not None
    assert str(schema.get("x")) == type_


def test_steps_of_one_name_are_numbered(clicks: Topic) -> None:
    steps = [clicks.filter(col("price") > n).step for n in range(3)]
    assert steps == ["clicks.filter", "clicks.filter-2", "clicks.filter-3"]


def test_a_stream_can_branch(clicks: Topic) -> None:
    for name, price in (("cheap", 1), ("dear", 2)):
        clicks.filter(col("price") == price).group_by("user").agg(n=count()).table(name)
    nodes = list(clicks.app.plan().of_type(AggregateNode))
    assert [n.input for n in nodes] == ["clicks.filter", "clicks.filter-2"]
    assert [s.name for s in clicks.app.plan().subtopologies] == ["clicks"]


def test_a_plan_is_not_changed_by_later_declarations(app: flows.App, clicks: Topic) -> None:
    before = app.plan()
    clicks.filter(col("price") > 1)
    assert "clicks.filter" not in before.nodes
    assert app.plan() != before
