"""Mistakes behind tables: in what is computed of their changes and rows."""

from __future__ import annotations

from flows import count, last, max, mean, tumbling
from tests.dsl.mistakes.airport import delays, departures


def largest_of_rows_that_change() -> None:
    delays().group_by("carrier").agg(worst=max("delay"))  # here


def count_of_changes() -> None:
    delays().changes().group_by("carrier").agg(changes=count())  # here


def windows_of_changes() -> None:
    delays().changes().group_by("carrier").window(tumbling("1h")).agg(worst=max("delay"))  # here


def rows_by_an_unknown_column() -> None:
    delays().group_by("carier")  # here


def rows_of_windows_that_are_not_over() -> None:
    hourly = departures().group_by("carrier").window(tumbling("1h")).agg(flights=count()).table("hourly")
    hourly.changes().group_by("window_start").agg(mean=mean("flights"))  # here


def removals_beside_a_column_of_that_name() -> None:
    departures().group_by("origin").agg(removed=last("carrier")).table("t").changes(removals=True)  # here


def changes_joined_in_a_window() -> None:
    topic = departures()
    delay = topic.group_by("origin").agg(delay=mean("delay")).table("delay")
    topic.join(delay.changes(), within="1h")  # here


def tables_joined_by_different_keys() -> None:
    topic = departures()
    carriers = topic.group_by("carrier").agg(flights=count()).table("carriers")
    seats = topic.group_by("seats").agg(flights=count()).table("seats")
    carriers.join(seats)  # here


def tables_joined_with_the_same_columns() -> None:
    topic = departures()
    carriers = topic.group_by("carrier").agg(flights=count()).table("carriers")
    carriers.join(topic.group_by("carrier").agg(flights=count("delay")).table("flown"))  # here


def tables_joined_over_different_windows() -> None:
    topic = departures()
    hours = topic.window(tumbling("1h")).agg(flights=count()).table("hours")
    hours.join(topic.window(tumbling("1d")).agg(delay=mean("delay")).table("days"))  # here


def tables_joined_that_lie_apart() -> None:
    topic = departures()
    origins = topic.group_by("origin").agg(flights=count()).table("origins")
    hubs = topic.group_by("carrier").agg(origin=last("origin")).table("hubs")
    origins.join(hubs.group_by("origin").agg(carriers=count()).table("by_hub"))  # here


def table_joined_with_a_stream() -> None:
    table = delays()
    table.join(table.changes())  # type: ignore[arg-type]  # here


def each_change_of_rows_that_commits_tell() -> None:
    delays().group_by("carrier").agg(n=count()).table("t").changes(emit="every")  # here


def each_change_of_windows_that_tell_once() -> None:
    closed = departures().window(tumbling("1h", emit="close")).agg(n=count()).table("closed")
    closed.changes(emit="every")  # here


def each_change_but_not_too_many() -> None:
    delays().changes(emit="every", emit_every="1m")  # here


def changes_emitted_as_windows_are() -> None:
    delays().changes(emit="close")  # here


def emit_every_no_time() -> None:
    delays().emit_every(0)  # here


def table_joined_on_an_unknown_column() -> None:
    topic = departures()
    delay = topic.group_by("origin").agg(carrier=last("carrier")).table("delay")
    delay.join(topic.group_by("carrier").agg(n=count()).table("n"), on="carier")  # here


def table_joined_on_another_type() -> None:
    topic = departures()
    delay = topic.group_by("origin").agg(carrier=last("carrier")).table("delay")
    delay.join(topic.group_by("seats").agg(n=count()).table("n"), on="carrier")  # here


def table_joined_on_the_key_of_a_topic() -> None:
    topic = departures()
    hubs = topic.group_by("carrier").agg(origin=last("origin")).table("hubs")
    hubs.join(topic.group_by("origin").agg(n=count()).table("n"), on="origin")  # here


def windows_joined_on_a_column() -> None:
    topic = departures()
    hours = topic.window(tumbling("1h")).agg(carrier=last("carrier")).table("hours")
    hours.join(topic.group_by("carrier").agg(n=count()).table("n"), on="carrier")  # here
