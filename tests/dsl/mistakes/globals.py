"""Mistakes with global tables."""

from __future__ import annotations

import flows
from flows import col
from tests.dsl.mistakes.airport import app, departures
from tests.dsl.mistakes.joins import Weather, weather


def winds(of: flows.App) -> flows.GlobalTable:
    return of.global_table("winds", weather(of))


def global_table_of_no_topic() -> None:
    app().global_table("late", None)  # here


def global_table_of_a_stream() -> None:
    topic = departures()
    topic.app.global_table("late", topic.filter(col("delay") > 60))  # type: ignore[arg-type]  # here


def global_table_without_a_key() -> None:
    of = app()
    of.global_table("winds", weather(of, key=None))  # here


def global_table_of_a_topic_that_forgets() -> None:
    of = app()
    topic = of.topic("weather", value=Weather, key="origin", retention="3d")
    of.global_table("winds", topic)  # here


def global_table_joined_by_another_type() -> None:
    topic = departures()
    topic.join(winds(topic.app), on=col("delay") * 2, suffix="_there")  # here


def global_table_joined_in_a_window() -> None:
    topic = departures()
    topic.join(winds(topic.app), within="5m", suffix="_there")  # here


def global_table_with_two_columns_of_one_name() -> None:
    topic = departures()
    topic.join(winds(topic.app))  # here


def expression_for_a_table_of_one_partition_each() -> None:
    topic = departures()
    topic.join(weather(topic.app).table("now"), on=col("origin"), suffix="_there")  # here


def table_joined_with_a_global_one() -> None:
    topic = departures()
    topic.table("gone").join(winds(topic.app))  # type: ignore[arg-type]  # here
