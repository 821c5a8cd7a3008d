"""Mistakes in names and topics."""

from __future__ import annotations

from typing import Any

import flows
from flows import count
from tests.dsl.mistakes.airport import Departure, app, departures


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


def key_that_is_no_field() -> None:
    app().topic("departures", value=Departure, key="orign")  # here


def key_of_a_wrong_type() -> None:
    app().topic("departures", value=Departure, key="delay")  # here


def timestamp_that_is_no_field() -> None:
    app().topic("departures", value=Departure, timestamp="time")  # here


def timestamp_of_a_wrong_type() -> None:
    app().topic("departures", value=Departure, timestamp="carrier")  # here


def record_with_an_unknown_type() -> None:
    class Ship(flows.Record):
        harbour: Harbour  # type: ignore[name-defined]  # noqa: F821

    app().topic("ships", value=Ship)  # here


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


def partitioner_that_is_no_function() -> None:
    app().topic("departures", value=Departure, partitioner="murmur2")  # type: ignore[arg-type]  # here


def partitioner_of_a_topic_that_others_partition() -> None:
    app().topic("departures", value=Departure, key="origin", partitioned_by="murmur2", partitioner=hash_)  # here


def hash_(key: bytes | None, partitions: int) -> int:
    return len(key or b"") % partitions
