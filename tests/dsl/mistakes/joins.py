"""Mistakes in joins of streams with streams and tables."""

from __future__ import annotations

import flows
from flows import count, tumbling
from tests.dsl.mistakes.airport import app, departures


class Weather(flows.Record):
    origin: str
    gate: int
    wind: float
    at: float


def weather(of: flows.App, key: str | None = "origin", partitions: int = 1) -> flows.Topic:
    return of.topic("weather", value=Weather, key=key, timestamp="at", partitions=partitions)


def join_without_a_window() -> None:
    topic = departures()
    topic.join(weather(topic.app))  # here


def join_without_a_common_key() -> None:
    topic = departures()
    topic.join(weather(topic.app, key=None), within="5m")  # here


def join_by_columns_of_different_types() -> None:
    topic = departures()
    topic.join(weather(topic.app), "origin", right_on="gate", within="5m")  # here


def join_by_a_column_that_the_right_side_lacks() -> None:
    topic = departures()
    topic.join(weather(topic.app), "carrier", within="5m")  # here


def join_with_two_columns_of_one_name() -> None:
    topic = departures()
    topic.join(weather(topic.app), within="5m")  # here


def the_same_join_twice() -> None:
    topic = departures()
    other = weather(topic.app)
    topic.join(other, within="5m", suffix="_there")
    topic.join(other, within="9m", suffix="_there")  # here


def unknown_kind_of_join() -> None:
    topic = departures()
    topic.join(weather(topic.app), within="5m", how="outter")  # here


def join_with_what_is_no_stream() -> None:
    departures().join("weather", within="5m")  # here


def join_of_two_apps() -> None:
    departures().join(weather(flows.App("other")), within="5m")  # here


def window_for_a_table() -> None:
    topic = departures()
    topic.join(weather(topic.app).table("now"), within="5m", suffix="_there")  # here


def table_of_a_topic_without_a_key() -> None:
    weather(app(), key=None).table("now")  # here


def join_with_a_table_of_windows() -> None:
    topic = departures()
    topic.join(topic.window(tumbling("1h")).agg(n=count()).table("hourly"))  # here


def join_with_a_table_in_unknown_partitions() -> None:
    topic = departures()
    topic.join(weather(topic.app, partitions=3).table("now"), suffix="_there")  # here


def forward_at_once() -> None:
    topic = departures()
    topic.join_asof(weather(topic.app), tolerance="1h", direction="forward", emit="now")  # here
