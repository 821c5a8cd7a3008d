"""Mistakes in columns and expressions."""

from __future__ import annotations

import datetime as dt

from flows import col, lit, when
from tests.dsl.mistakes.airport import Departure, app, departures


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


def flat_map_that_returns_one_record() -> None:
    def once(departure: Departure) -> Departure:
        return departure

    departures().flat_map(once)  # type: ignore[arg-type]  # here


def branch_without_a_condition() -> None:
    departures().branch()  # here


def branch_on_a_number() -> None:
    departures().branch(col("delay"))  # here


def map_that_returns_nobody_knows_what() -> None:
    departures().map(lambda d: d)  # here
