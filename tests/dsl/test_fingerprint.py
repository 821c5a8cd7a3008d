"""What makes stored rows unreadable, and what does not; and when two plans are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flows
from dsl.plan.fingerprint import Descriptor, describe, differences, plan_hash
from dsl.plan.graph import Plan
from flows import (
    approx_distinct,
    arg_max,
    arg_min,
    col,
    collect,
    count,
    fold,
    histogram,
    hopping,
    max,
    mean,
    min,
    quantile,
    std,
    top_k,
    tumbling,
    var,
)


class Click(flows.Record):
    user: str
    page: str
    price: int
    seconds: float | None
    at: float


class Strict(flows.Record):
    user: str
    page: str
    price: int
    seconds: float
    at: float


class Renamed(flows.Record):
    user: int
    page: str
    price: float
    seconds: float
    at: float


Shape = Callable[[flows.Stream], Any]


def plan(shape: Shape, value: Any = Click, key: str | None = "user", partitions: int = 4, **more: Any) -> Plan:
    app = flows.App("web")
    shape(app.topic("clicks", value=value, key=key, timestamp="at", partitions=partitions, **more))
    return app.plan()


def usual(stream: flows.Stream) -> Any:
    grouped = stream.group_by("user").window(tumbling("1h"))
    return grouped.agg(n=count(), p95=quantile("seconds", 0.95)).table("t")


def compare(new: Plan, old: Plan | None = None) -> list[str]:
    return differences(describe(old or plan(usual), "t"), describe(new, "t"))


def table(by: tuple[str, ...] = ("user",), window: flows.Window | None = None, **aggregates: Any) -> Shape:
    def shape(stream: flows.Stream) -> Any:
        grouped = stream.group_by(*by)
        aggregates_ = aggregates or {"n": count(), "p95": quantile("seconds", 0.95)}
        return grouped.window(window or tumbling("1h")).agg(**aggregates_).table("t")

    return shape


def with_agent(stream: flows.Stream) -> None:
    usual(stream).to(stream.app.topic("changes"))
    late = stream.app.table("late")

    @stream.app.agent(stream)
    async def watch(stream: Any) -> None:
        late["a"] = 1


COMPATIBLE: dict[str, Plan] = {
    "the same": plan(usual),
    "a filter": plan(lambda s: usual(s.filter(col("price") > 0))),
    "a column that is added": plan(lambda s: usual(s.with_columns(x=col("price") * 2))),
    "emit": plan(table(window=tumbling("1h", emit="close"))),
    "grace": plan(table(window=tumbling("1h", grace="1d"))),
    "retention": plan(table(window=tumbling("1h", retention="30d"))),
    "the q of a quantile": plan(table(n=count(), p95=quantile("seconds", 0.99))),
    "an agent, a table and a sink": plan(with_agent),
    "a field that is null no more": plan(usual, value=Strict),
    "a codec": plan(usual, codec="msgpack"),
}


@pytest.mark.parametrize("change", COMPATIBLE)
def test_stored_rows_survive(change: str) -> None:
    assert compare(COMPATIBLE[change]) == []


def max_of(earlier: int, later: int) -> int:
    return earlier if earlier > later else later


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (var("price"), var("price", ddof=0)),
        (std("price"), std("price", ddof=0)),
        (top_k("page", 3), top_k("page", 5)),
        (fold(0, lambda total, click: total + click.price), fold(1, lambda total, click: total, max_of)),
    ],
)
def test_how_a_result_is_read_is_not_stored(old: Any, new: Any) -> None:
    assert compare(plan(table(a=new)), plan(table(a=old))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (collect("page", 3), collect("page", 4)),
        (collect("page"), collect("page", latest=True)),
        (top_k("page"), top_k("page", capacity=20)),
        (arg_min("page", by="price"), arg_min("page", by="seconds")),
        (histogram("price", [1]), histogram("price", [1, 2])),
        (var("price"), std("price")),
        (fold(0, lambda total, click: total), fold(0.0, lambda total, click: total)),
        (fold(list, lambda found, click: found), fold([], lambda found, click: found, type=list[str])),
    ],
)
def test_what_is_kept_is_stored(old: Any, new: Any) -> None:
    (difference,) = compare(plan(table(a=new)), plan(table(a=old)))
    assert difference.startswith(f"aggregate a was {old.function}(")


INCOMPATIBLE: dict[str, tuple[Plan, list[str]]] = {
    "window size": (
        plan(table(window=tumbling("2h"))),
        ["window was tumbling(1h), is tumbling(2h)"],
    ),
    "window kind": (
        plan(table(window=hopping("1h", "10m"))),
        ["window was tumbling(1h), is hopping(1h, 10m)"],
    ),
    "window offset": (
        plan(table(window=tumbling("1h", offset="30m"))),
        ["window was tumbling(1h), is tumbling(1h, offset=30m)"],
    ),
    "window of a zone": (
        plan(table(window=tumbling("1d", tz="Europe/Berlin"))),
        ["window was tumbling(1h), is tumbling(1d, tz=Europe/Berlin)"],
    ),
    "a session": (
        plan(table(window=flows.session("1h"))),
        ["window was tumbling(1h), is session(1h)"],
    ),
    "a sliding window": (
        plan(table(window=flows.sliding("1h"))),
        ["window was tumbling(1h), is sliding(1h)"],
    ),
    "a count window": (
        plan(table(window=flows.count_window(10))),
        ["window was tumbling(1h), is count_window(10)"],
    ),
    "no window": (
        plan(lambda s: s.group_by("user").agg(n=count(), p95=quantile("seconds", 0.95)).table("t")),
        ["window was tumbling(1h), is none"],
    ),
    "keys": (
        plan(table(by=("user", "page"))),
        ["keys was user: str, is user: str, page: str"],
    ),
    "type of a key": (
        plan(usual, value=Renamed),
        ["keys was user: str, is user: int"],
    ),
    "partitions": (
        plan(usual, partitions=8),
        ["number of partitions was 4, is 8"],
    ),
    "a repartition": (
        plan(usual, key=None),
        ["partition was that of the input's key (user), is chosen by group_by(user)"],
    ),
    "an aggregate that is gone": (
        plan(table(n=count())),
        ["aggregate p95 was quantile(seconds: float, error=0.01), is gone"],
    ),
    "an aggregate that is new": (
        plan(table(n=count(), p95=quantile("seconds", 0.95), top=max("price"))),
        ["aggregate top is new: max(price: int)"],
    ),
    "another function": (
        plan(table(n=count("seconds"), p95=mean("seconds"))),
        [
            "aggregate n was count(), is count(seconds: float)",
            "aggregate p95 was quantile(seconds: float, error=0.01), is mean(seconds: float)",
        ],
    ),
    "the error of a quantile": (
        plan(table(n=count(), p95=quantile("seconds", 0.95, error=0.05))),
        ["aggregate p95 was quantile(seconds: float, error=0.01), is quantile(seconds: float, error=0.05)"],
    ),
    "another argument": (
        plan(table(n=count(), p95=quantile(col("seconds") * 1000, 0.95))),
        ["aggregate p95 was quantile(seconds: float, error=0.01), is quantile(seconds * 1000: float, error=0.01)"],
    ),
    "what is compared": (
        plan(table(n=count(), p95=arg_max("page", by="price"))),
        ["aggregate p95 was quantile(seconds: float, error=0.01), is arg_max(page: str, by=price: int)"],
    ),
    "bounds": (
        plan(table(n=count(), p95=histogram("price", [0, 9.5]))),
        ["aggregate p95 was quantile(seconds: float, error=0.01), is histogram(price: int, bounds=[0, 9.5])"],
    ),
    "order": (
        plan(table(p95=quantile("seconds", 0.95), n=count())),
        ["the order of aggregates was n, p95, is p95, n"],
    ),
}


@pytest.mark.parametrize("change", INCOMPATIBLE)
def test_stored_rows_cannot_be_read(change: str) -> None:
    new, wanted = INCOMPATIBLE[change]
    assert compare(new) == wanted


def test_type_of_an_argument() -> None:
    old, new = (plan(table(by=("page",), low=min("price")), value=v, key="page") for v in (Click, Renamed))
    assert compare(new, old) == ["aggregate low was min(price: int), is min(price: float)"]


def test_precision() -> None:
    old, new = (plan(table(d=approx_distinct("page", precision=p))) for p in (12, 14))
    assert compare(new, old) == [
        "aggregate d was approx_distinct(page: str, precision=12), is approx_distinct(page: str, precision=14)"
    ]


def dictionary(key: Any = str, value: Any = int, used: bool = True, partitions: int = 4) -> Plan:
    app = flows.App("web")
    t = app.table("t", key=key, value=value)

    @app.agent(app.topic("clicks", value=Click, key="user", partitions=partitions))
    async def watch(stream: Any) -> None:
        if used:
            t["a"] = 1

    if not used:
        app._nodes.pop("watch")
    return app.plan()


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        (dictionary(), []),
        (dictionary(key=int), ["keys was key: str, is key: int"]),
        (dictionary(value=list[int]), ["value type was int, is list[int]"]),
        (dictionary(partitions=2), ["number of partitions was 4, is 2"]),
    ],
)
def test_dictionary_tables(new: Plan, wanted: list[str]) -> None:
    assert compare(new, dictionary()) == wanted


def test_a_table_that_became_a_dictionary() -> None:
    assert compare(dictionary())[0] == "kind was aggregate, is dictionary"


def test_a_table_that_nothing_touches_is_in_no_partition() -> None:
    app = flows.App("web")
    app.table("t")
    assert describe(app.plan(), "t").partitions == 0


def test_an_older_form_is_told_alone() -> None:
    old = describe(plan(usual), "t")
    older = Descriptor.decode(old.encode().replace(b'"encoding":1', b'"encoding":0'))
    assert differences(older, old) == ["the stored form was version 0, is version 1"]


def test_descriptors_read_back() -> None:
    for found in (describe(plan(usual), "t"), describe(dictionary(), "t"), describe(INCOMPATIBLE["no window"][0], "t")):
        assert Descriptor.decode(found.encode()) == found
        assert Descriptor.decode(found.encode()).encode() == found.encode()


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'{"table": 5}'])
def test_damaged_descriptors_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no table descriptor"):
        Descriptor.decode(data)


def test_unknown_table() -> None:
    with pytest.raises(KeyError):
        describe(plan(usual), "u")


def test_equal_plans_have_one_hash_and_others_do_not() -> None:
    plans = [*COMPATIBLE.values(), *(new for new, _ in INCOMPATIBLE.values())]
    for one in plans:
        for two in plans:
            assert (plan_hash(one) == plan_hash(two)) == (one == two)
    assert len({plan_hash(p) for p in plans}) >= len(plans) - 2
    assert len(plan_hash(plans[0])) == 12


def test_the_hash_tells_a_float_from_an_int() -> None:
    ints, floats = (plan(lambda s, v=v: usual(s.filter(col("price") > v))) for v in (1, 1.0))
    assert plan_hash(ints) != plan_hash(floats)


def test_the_hash_does_not_depend_on_the_order_of_declarations() -> None:
    def declared(*names: str) -> str:
        app = flows.App("web")
        for name in names:
            app.topic(name, value=Click)
        return plan_hash(app.plan())

    assert declared("a", "b") == declared("b", "a")
