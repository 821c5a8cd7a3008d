"""Mistakes in sinks, agents, timers and dictionary tables."""

from __future__ import annotations

from typing import Any

import flows
from flows import col, count
from tests.dsl.mistakes.airport import Departure, app, departures


def sink_that_is_a_name() -> None:
    departures().to("alerts")  # type: ignore[arg-type]  # here


def sink_of_another_app() -> None:
    departures().to(flows.App("harbour").topic("ships"))  # here


def sink_of_a_record_with_other_fields() -> None:
    a = app()
    departures(a).select("carrier", dest=col("origin")).to(a.topic("copies", value=Departure))  # here


def sink_of_a_record_with_other_types() -> None:
    a = app()
    rows = departures(a).with_columns(seats=col("seats") / 2)
    rows.to(a.topic("copies", value=Departure))  # here


def aggregates_without_a_table() -> None:
    a = app()
    departures(a).group_by("carrier").agg(n=count())  # here
    a.plan()


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


def window_close_without_windows() -> None:
    a = app()

    def report(key: Any, value: Any) -> None:  # here
        ...

    a.table("late", on_window_close=report)
    a.plan()


def window_close_of_windows_that_stay() -> None:
    app().table("late", on_window_close=print).tumbling("1m")  # here


def window_close_that_is_a_name() -> None:
    app().table("late", on_window_close="report")  # type: ignore[arg-type]  # here


def windows_for_a_table_that_has_them() -> None:
    table = app().table("late")
    table.tumbling("1m")
    table.hopping("1m", "30s")  # here


def windows_by_a_field_without_a_name() -> None:
    app().table("late").tumbling("1m").relative_to_field(5)  # here


def set_of_lists() -> None:
    app().set_table("seen", value=list)  # here


def crontab_that_is_none() -> None:
    app().crontab("61 9 * * *")  # here


def crontab_in_no_time_zone() -> None:
    app().crontab("0 9 * * *", timezone="Europe/Berlni")  # here


def task_that_is_a_plain_function() -> None:
    a = app()

    @a.task  # here
    def clean() -> None: ...


def timer_of_every_worker_with_a_table() -> None:
    a = app()
    late = a.table("late", key=str, value=int, default=int)

    @a.agent(departures(a))
    async def watch(stream: Any) -> None:
        late["JFK"] += 1

    @a.timer("1m", on_leader=False)  # here
    async def report() -> None:
        late.clear()

    a.plan()


def hook_that_is_a_name() -> None:
    app().on_start("report")  # type: ignore[type-var]  # here


def page_where_the_worker_has_its_own() -> None:
    app().page("/api/totals")  # here


def page_by_a_method_that_is_none() -> None:
    app().page("/totals", methods=["GTE"])  # here


def page_that_is_a_plain_function() -> None:
    a = app()

    @a.page("/totals")  # here
    def totals(request: Any) -> None: ...


def two_commands_of_one_name() -> None:
    a = app()
    a.command("clean")(print)
    a.command("clean")(print)  # here


def command_with_spaces() -> None:
    app().command("clean up")(print)  # here


def agent_over_windows() -> None:
    a = app()
    a.agent(departures(a).window(flows.tumbling("1h")))  # type: ignore[arg-type]  # here


def key_timer_of_an_unknown_time() -> None:
    app().key_timer("late", time="stream")  # here


def key_timer_that_calls_nothing() -> None:
    a = app()
    late = a.key_timer("late")

    @a.agent(departures(a))
    async def watch(stream: Any) -> None:
        late.set("LGA", after=1)

    a.plan()  # here


def key_timer_that_calls_a_text() -> None:
    app().key_timer("late").on_time("ring")  # type: ignore[type-var]  # here


def key_timer_that_calls_two() -> None:
    late = app().key_timer("late")
    late.on_time(print)
    late.on_time(print)  # here


def grouped_twice_inside() -> None:
    a = app()

    @a.agent(departures(a))
    async def both(stream: Any) -> None:
        async for _ in stream.group_by("carrier"):
            async for _ in stream.group_by("origin"):  # here
                pass


def grouped_and_not_inside() -> None:
    a = app()

    @a.agent(departures(a))
    async def either(stream: Any) -> None:
        async for _ in stream.group_by("carrier"):
            pass
        async for _ in stream:  # here
            pass


def grouped_inside_by_what_is_not_known() -> None:
    a, column = app(), "carrier"

    @a.agent(departures(a))
    async def chosen(stream: Any) -> None:
        async for _ in stream.group_by(column):  # here
            pass


def grouped_inside_by_an_unknown_column() -> None:
    a = app()

    @a.agent(departures(a))  # here
    async def wrong(stream: Any) -> None:
        async for _ in stream.group_by("seat"):
            pass


def grouped_outside_and_inside() -> None:
    a = app()

    @a.agent(departures(a).group_by("carrier"))
    async def again(stream: Any) -> None:
        async for _ in stream.group_by("origin"):  # here
            pass


def send_without_await() -> None:
    a = app()
    alerts = a.topic("alerts")

    @a.agent(departures(a))
    async def watch(stream: Any) -> None:
        async for departure in stream:
            if departure.delay:
                alerts.send(departure.carrier)  # type: ignore[unused-coroutine]  # here

    a.plan()


def cast_without_await_by_a_function_that_a_timer_calls() -> None:
    a = app()

    @a.agent(a.topic("alerts"))
    async def warn(stream: Any) -> None:
        async for _ in stream:
            pass

    def remind() -> None:
        warn.cast("again")  # type: ignore[unused-coroutine]  # here

    @a.timer("1m")
    async def each_minute() -> None:
        remind()

    a.plan()


def channel_in_the_memory_of_a_worker() -> None:
    app().channel(value_type=str)  # here


def for_without_async() -> None:
    a = app()

    @a.agent(departures(a))
    async def watch(stream: Any) -> None:
        for _ in stream.take(10):  # here
            pass
