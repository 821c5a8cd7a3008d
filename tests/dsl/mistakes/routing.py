"""Mistakes in what chooses topics and partitions."""

from __future__ import annotations

from typing import Any

import flows
from flows import col
from tests.dsl.mistakes.airport import Departure, app, departures


def _topics(a: flows.App) -> tuple[flows.Topic, flows.Topic]:
    return a.topic("late", value=Departure), a.topic("early", value=Departure)


def expression_without_topics() -> None:
    departures().to(col("origin"))  # here


def expression_of_a_column_that_is_not_there() -> None:
    a = app()
    departures(a).to(col("orign"), topics={"EWR": _topics(a)[0]})  # here


def expression_with_values_of_another_type() -> None:
    a = app()
    departures(a).to(col("origin"), topics={1: _topics(a)[0]})  # here


def expression_of_a_float() -> None:
    a = app()
    departures(a).to(col("delay"), topics={1.0: _topics(a)[0]})  # here


def expression_over_values_without_columns() -> None:
    a = app()
    a.topic("raw").to(col("origin"), topics={"EWR": _topics(a)[0]})  # here


def function_without_topics() -> None:
    departures().to(lambda departure: departure)  # here


def function_with_topics_by_value() -> None:
    a = app()
    late, _ = _topics(a)
    departures(a).to(lambda departure: late, topics={"late": late})  # here


def topics_beside_a_topic() -> None:
    a = app()
    late, early = _topics(a)
    departures(a).to(late, topics=[early])  # here


def topic_of_other_fields_among_those_of_a_function() -> None:
    a = app()
    late, early = _topics(a)
    departures(a).select("carrier").to(lambda row: late, topics=[late, early])  # here


def partition_that_is_no_number() -> None:
    a = app()
    departures(a).to(_topics(a)[0], partition=col("origin"))  # here


def partition_of_a_topic_with_a_partitioner() -> None:
    a = app()
    owned = a.topic("owned", value=Departure, partitioner=first_letter)
    departures(a).to(owned, partition=0)  # here


def first_letter(key: bytes | None, partitions: int) -> int:
    return (key or b"\0")[0] % partitions


def router_of_a_topic() -> None:
    late, early = _topics(app())
    flows.router(late, topics=[late, early])  # type: ignore[arg-type]  # here


def router_without_topics() -> None:
    late, _ = _topics(app())
    flows.router(lambda value: late, topics=[])  # here


def function_as_a_sink() -> None:
    a = app()
    late, _ = _topics(a)
    sink: Any = lambda value: late  # noqa: E731
    a.agent(departures(a), sink=[sink])  # here


def router_that_is_not_in_a_list() -> None:
    a = app()
    late, _ = _topics(a)
    a.agent(departures(a), sink=flows.router(lambda value: late, topics=[late]))  # type: ignore[arg-type]  # here
