"""Mistakes in merged and sampled streams, and in those without repetitions."""

from __future__ import annotations

import flows
from flows import col, count
from tests.dsl.mistakes.airport import Departure, app, departures


def merge_with_nothing() -> None:
    departures().merge()  # here


def merge_with_a_name() -> None:
    departures().merge("arrivals")  # type: ignore[arg-type]  # here


def merge_with_another_app() -> None:
    departures().merge(flows.App("harbour").topic("ships", value=Departure))  # here


def merge_with_itself() -> None:
    stream = departures()
    stream.merge(stream)  # here


def merge_of_other_columns() -> None:
    a = app()
    stream = departures(a)
    stream.merge(stream.select("carrier", "origin"))  # here


def merge_of_other_types() -> None:
    a = app()
    stream = departures(a)
    stream.merge(stream.with_columns(origin=col("delay")))  # here


def merge_with_values_without_columns() -> None:
    a = app()
    departures(a).merge(a.topic("raw"))  # here


def merge_of_topics_of_different_width() -> None:
    a = app()
    departures(a).merge(a.topic("more", value=Departure, partitions=7))
    a.plan()  # here


def merge_of_changes() -> None:
    a = app()
    stream = departures(a)
    table = stream.group_by("origin").agg(n=count()).table("by_origin")
    table.changes().merge(stream.select("origin", n=1))  # here


def sample_of_nothing() -> None:
    departures().sample()  # here


def sample_in_percent() -> None:
    departures().sample(10)  # here


def sample_of_each_half() -> None:
    departures().sample(every=0.5)  # type: ignore[arg-type]  # here


def sample_by_a_list_of_tags() -> None:
    departures().sample(0.5, by="tags")  # here


def dedupe_without_columns() -> None:
    departures().dedupe(within="1h")  # here


def dedupe_within_no_time() -> None:
    departures().dedupe("origin", within=0)  # here


def dedupe_by_what_is_not_the_key() -> None:
    departures().dedupe("carrier", within="1h")  # here


def dedupe_by_a_column_twice() -> None:
    departures().dedupe("origin", "origin", within="1h")  # here


def dedupe_with_the_name_of_a_table() -> None:
    a = app()
    a.table("once")
    departures(a).dedupe("origin", within="1h", name="once")  # here
