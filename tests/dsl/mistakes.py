"""Mistakes that people make when they declare a flow. Each function makes one, on the line marked `# here`.

`test_mistakes.py` runs them; the texts that they must give stand in `mistakes.txt`.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import flows
from flows import col, count, first, hopping, lit, mean, quantile, sum, tumbling, when


class Departure(flows.Record):
    carrier: str
    origin: str
    delay: float | None
    seats: int
    tags: list[str]
    at: float


def app() -> flows.App:
    return flows.App("airport")


def departures(of: flows.App | None = None) -> flows.Topic:
    return (of or app()).topic("departures", value=Departure, key="origin", timestamp="at", partitions=4)


# Names


def name_with_a_space() -> None:
    flows.App("my airport")  # here


def topic_name_with_a_slash() -> None:
    app().topic("departures/2013")  # here


def topic_declared_twice() -> None:
    a = app()
    departures(a)
    a.topic("departures")  # here


def table_declared_twice() -> None:
    a = app()
    stream = departures(a)
    stream.group_by("carrier").agg(n=count()).table("by_carrier")
    stream.group_by("origin").agg(n=count()).table("by_carrier")  # here


def table_with_the_name_of_a_topic() -> None:
    a = app()
    departures(a)
    a.table("departures")  # here


def two_agents_of_one_name() -> None:
    a = app()
    stream = departures(a)

    @a.agent(stream)
    async def watch(stream: Any) -> None: ...

    @a.agent(stream, name="watch")  # here
    async def watch_too(stream: Any) -> None: ...


def topic_with_the_name_of_an_internal_one() -> None:
    a = app()
    departures(a).group_by("carrier").agg(n=count()).table("by_carrier")
    a.topic("airport-by_carrier-repartition")
    a.plan()  # here


# Topics


def key_that_is_no_field() -> None:
    app().topic("departures", value=Departure, key="orign")  # here


def key_of_a_wrong_type() -> None:
    app().topic("departures", value=Departure, key="delay")  # here


def timestamp_that_is_no_field() -> None:
    app().topic("departures", value=Departure, timestamp="time")  # here


def timestamp_of_a_wrong_type() -> None:
    app().topic("departures", value=Departure, timestamp="carrier")  # here


def key_of_an_untyped_topic() -> None:
    app().topic("departures", key="origin")  # here


def zero_partitions() -> None:
    app().topic("departures", partitions=0)  # here


def unknown_error_policy() -> None:
    app().topic("departures", on_error="deadletter")  # here


def unknown_unit() -> None:
    app().topic("departures", value=Departure, timestamp="at", unit="msec")  # here


def unknown_codec() -> None:
    app().topic("departures", codec="JSON")  # here


def bad_retention() -> None:
    app().topic("departures", retention="a week")  # here


# Columns and expressions


def unknown_column() -> None:
    departures().filter(col("dealy") > 60)  # here


def unknown_column_in_select() -> None:
    departures().select("carrier", "Origin")  # here


def column_that_select_has_dropped() -> None:
    departures().select("carrier").filter(col("delay") > 60)  # here


def filter_that_is_no_condition() -> None:
    departures().filter(col("delay"))  # here


def filter_by_a_function() -> None:
    def is_late(departure: Departure) -> bool:
        return bool(departure.delay)

    departures().filter(is_late)  # type: ignore[arg-type]  # here


def and_between_conditions() -> None:
    departures().filter(col("delay") > 60 and col("carrier") == "UA")  # here


def chained_comparison() -> None:
    departures().filter(0 < col("delay") < 60)  # here


def comparison_with_none() -> None:
    departures().filter(col("delay") == None)  # noqa: E711  # here


def comparison_of_text_with_a_number() -> None:
    departures().filter(col("carrier") > 5)  # here


def computing_with_a_list() -> None:
    departures().with_columns(n=col("tags") + 1)  # here


def value_that_is_no_constant() -> None:
    departures().filter(col("carrier") == ["UA", "AA"])  # here


def is_in_a_text() -> None:
    departures().filter(col("carrier").is_in("UA"))  # here


def integer_beyond_64_bits() -> None:
    departures().filter(col("seats") < 2**64)  # here


def when_without_otherwise() -> None:
    departures().with_columns(late=when(col("delay") > 60).then(1))  # here


def branches_of_different_types() -> None:
    departures().with_columns(late=when(col("delay") > 60).then("late").otherwise(0))  # here


def cast_to_a_date() -> None:
    departures().with_columns(day=col("at").cast(dt.date))  # here


def digits_that_are_computed() -> None:
    departures().with_columns(x=col("delay").round(col("seats")))  # type: ignore[arg-type]  # here


def pattern_that_is_computed() -> None:
    departures().with_columns(x=col("carrier").replace(col("origin"), ""))  # type: ignore[arg-type]  # here


def column_with_a_dollar() -> None:
    departures().with_columns(**{"$time": lit(0)})  # here


def columns_of_an_untyped_topic() -> None:
    app().topic("alerts", value=dict).filter(col("origin") == "JFK")  # here


def map_that_returns_nobody_knows_what() -> None:
    departures().map(lambda d: d)  # here


# Groups, windows, aggregates


def group_by_an_unknown_column() -> None:
    departures().group_by("carier")  # here


def group_by_a_list() -> None:
    departures().group_by("tags")  # here


def group_by_nothing() -> None:
    departures().group_by()  # here


def window_of_an_unkeyed_stream() -> None:
    app().topic("departures", value=Departure).window(tumbling("1h"))  # here


def window_without_a_size() -> None:
    departures().group_by("origin").window(tumbling())  # here


def window_that_is_a_text() -> None:
    departures().group_by("origin").window("1h")  # type: ignore[arg-type]  # here


def hopping_without_a_step() -> None:
    hopping("24h")  # here


def hopping_with_a_step_beyond_its_size() -> None:
    hopping("6h", "24h")  # here


def bad_duration() -> None:
    tumbling("1 hour")  # here


def negative_grace() -> None:
    tumbling("1h", grace=-5)  # here


def retention_shorter_than_grace() -> None:
    tumbling("1h", grace="10m", retention="5m")  # here


def bad_emit() -> None:
    tumbling("1h", emit="closed")  # here


def sum_of_a_text() -> None:
    departures().group_by("origin").agg(total=sum("carrier"))  # here


def first_of_a_list() -> None:
    departures().group_by("origin").agg(tags=first("tags"))  # here


def mean_of_an_unknown_column() -> None:
    departures().group_by("origin").agg(delay=mean("delays"))  # here


def quantile_in_percent() -> None:
    departures().group_by("origin").agg(p95=quantile("delay", 95))  # here


def aggregate_that_is_a_column() -> None:
    departures().group_by("origin").agg(delay=col("delay"))  # type: ignore[arg-type]  # here


def aggregate_that_is_not_called() -> None:
    departures().group_by("origin").agg(flights=count)  # type: ignore[arg-type]  # here


def aggregate_with_the_name_of_a_key() -> None:
    departures().group_by("origin").agg(origin=count())  # here


def aggregate_with_the_name_of_a_window_bound() -> None:
    departures().group_by("origin").window(tumbling("1h")).agg(window_start=count())  # here


def no_aggregate() -> None:
    departures().group_by("origin").agg()  # here


# Sinks, agents, timers, tables


def sink_that_is_a_name() -> None:
    departures().to("alerts")  # type: ignore[arg-type]  # here


def sink_of_another_app() -> None:
    departures().to(flows.App("harbour").topic("ships"))  # here


def sinks_that_are_no_list() -> None:
    a = app()
    a.agent(departures(a), sink=a.topic("alerts"))  # type: ignore[arg-type]  # here


def agent_on_a_table() -> None:
    a = app()
    table = departures(a).group_by("origin").agg(n=count()).table("by_origin")
    a.agent(table)  # type: ignore[arg-type]  # here


def agent_that_is_a_plain_function() -> None:
    a = app()

    @a.agent(departures(a))  # here
    def watch(stream: Any) -> None: ...


def agent_without_copies() -> None:
    a = app()
    a.agent(departures(a), concurrency=0)  # here


def declared_table_named_for_an_agent() -> None:
    a = app()
    stream = departures(a)
    table = stream.group_by("origin").agg(n=count()).table("by_origin")
    a.agent(stream, tables=[table])  # type: ignore[list-item]  # here


def topics_of_one_table_with_different_partitions() -> None:
    a = app()
    late = a.table("late", key=str, value=int, default=int)

    @a.agent(departures(a))
    async def watch(stream: Any) -> None:
        late["JFK"] += 1

    @a.agent(a.topic("resets", partitions=2))
    async def reset(stream: Any) -> None:
        late.clear()

    a.plan()  # here


def timer_of_a_table_that_no_agent_uses() -> None:
    a = app()
    late = a.table("late", key=str, value=int, default=int)

    @a.timer("1m")  # here
    async def report() -> None:
        late.clear()

    a.plan()


def timer_without_an_interval() -> None:
    app().timer(0)  # here


def table_key_that_is_a_dict() -> None:
    app().table("late", key=dict)  # here


def default_that_is_a_value() -> None:
    app().table("late", default=0)  # type: ignore[arg-type]  # here
