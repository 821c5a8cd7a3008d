"""Mistakes in groups, windows and aggregates."""

from __future__ import annotations

from typing import Any

from flows import (
    arg_max,
    col,
    collect,
    count,
    count_window,
    first,
    fold,
    histogram,
    hopping,
    mean,
    quantile,
    session,
    sliding,
    sum,
    top_k,
    tumbling,
    var,
)
from tests.dsl.mistakes.airport import Departure, app, departures


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


def window_of_an_unknown_time() -> None:
    tumbling("10s", time="procesing")  # here


def window_of_processing_time_with_grace() -> None:
    tumbling("10s", time="processing", grace="1s")  # here


def hopping_without_a_step() -> None:
    hopping("24h")  # here


def hopping_with_a_step_beyond_its_size() -> None:
    hopping("6h", "24h")  # here


def bad_duration() -> None:
    tumbling("1 hour")  # here


def window_in_an_unknown_zone() -> None:
    tumbling("1d", tz="Europe/Berln")  # here


def hours_of_a_zone() -> None:
    tumbling("1h", tz="Europe/Berlin")  # here


def months_in_steps_of_days() -> None:
    hopping("1mo", "1d", tz="Europe/Berlin")  # here


def session_without_a_gap() -> None:
    session()  # here


def session_of_no_time() -> None:
    session("0s", emit="close")  # here


def sliding_without_a_difference() -> None:
    sliding(grace="1m")  # here


def sliding_by_a_negative_difference() -> None:
    sliding(-5)  # here


def count_window_by_a_duration() -> None:
    count_window("10s")  # type: ignore[arg-type]  # here


def aggregate_with_the_name_of_a_window_number() -> None:
    departures().group_by("origin").window(count_window(5)).agg(window_number=count())  # here


def offset_beyond_the_step() -> None:
    tumbling("1d", offset="30h")  # here


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


def variance_of_a_text() -> None:
    departures().group_by("origin").agg(spread=var("carrier"))  # here


def variance_with_an_odd_ddof() -> None:
    departures().group_by("origin").agg(spread=var("delay", ddof=2))  # here


def largest_by_a_list() -> None:
    departures().group_by("origin").agg(worst=arg_max("carrier", by="tags"))  # here


def collect_without_bound() -> None:
    departures().group_by("origin").agg(all=collect("carrier", 1_000_000))  # here


def more_at_the_top_than_counted() -> None:
    departures().group_by("origin").agg(top=top_k("carrier", 50, capacity=20))  # here


def histogram_with_bounds_that_descend() -> None:
    departures().group_by("origin").agg(spread=histogram("delay", [60, 15]))  # here


def histogram_without_bounds() -> None:
    departures().group_by("origin").agg(spread=histogram("delay", []))  # here


def fold_of_sessions_without_merge() -> None:
    departures().group_by("origin").window(session("1h")).agg(worst=fold(list, lambda worst, d: worst))  # here


def fold_with_a_coroutine() -> None:
    async def step(total: int, departure: Any) -> int:
        return total

    fold(0, step)  # here


def fold_with_a_step_of_one_argument() -> None:
    fold(0, lambda total: total)  # here


def fold_without_a_step() -> None:
    fold(0, None)  # type: ignore[arg-type]  # here


def fold_of_an_object() -> None:
    fold(object, lambda found, departure: found)  # here


def fold_into_pairs() -> None:
    def step(pairs: list[tuple[str, int]], departure: Any) -> list[list[str]]:
        return []

    fold([("a", 1)], step)  # here


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
