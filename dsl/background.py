"""What an app does beside its streams: timers, crontabs, tasks, and hooks into the life of a worker."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from cronsim import CronSim, CronSimError

from dsl.agent_steps import AgentSteps
from dsl.calendar import check_zone
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.plan.nodes import TaskNode, TimerNode
from dsl.table import AgentTable
from dsl.tables_used import check_coroutine

Function = TypeVar("Function", bound=Callable[..., Any])


class Hook:
    """A moment in the life of a worker: `@app.on_start`, or `app.on_start.connect(function)`.

    The functions, coroutines or plain ones, are called in the order in which they were connected; they may send to
    topics and ask agents. What one raises ends the worker.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._functions: list[Callable[..., Any]] = []

    def __repr__(self) -> str:
        return f"<Hook {self.name}>"

    def __call__(self, function: Function) -> Function:
        return self.connect(function)

    def connect(self, function: Function) -> Function:
        """Have a function called at this moment."""
        if not callable(function):
            raise DeclarationError(f"{self.name} takes a function, not {function!r}: write @app.{self.name} above it.")
        self._functions.append(function)
        return function

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(tuple(self._functions))

    def disconnect(self, function: Callable[..., Any]) -> None:
        """Have a function called no more; raises ValueError where it was not connected."""
        self._functions.remove(function)

    async def call(self, *arguments: Any) -> None:
        """Call all functions, one after the other."""
        for function in self:
            called = function(*arguments)
            if inspect.isawaitable(called):
                await called


class Background(AgentSteps):
    """The part of an app that runs by the clock or with the worker.

    `on_start` is called before a worker reads anything, `on_ready` once the first tasks it is given are restored,
    `on_rebalance(assigned, revoked)` with the ids of tasks that came and go, `on_stop` after the last commit.
    """

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.on_start, self.on_ready = Hook("on_start"), Hook("on_ready")
        self.on_rebalance, self.on_stop = Hook("on_rebalance"), Hook("on_stop")

    def timer(
        self, interval: Duration, *, on_leader: bool = True, tables: Iterable[AgentTable] = ()
    ) -> Callable[[Function], Function]:
        """Call a coroutine every `interval`, inside the commit of each task that holds the tables it uses.

        One that uses no table runs in one worker of the group; with `on_leader=False` in every worker.

        >>> seen, told = app.table("seen", value=int, default=int), app.topic("told")
        >>> @app.agent(departures)
        ... async def count_them(stream):
        ...     async for departure in stream:
        ...         seen[departure.origin] += 1
        >>> @app.timer("1m")
        ... async def tell():
        ...     await told.send(dict(seen.items()))
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK"))
        ...     t.advance("1m")
        ...     t.output(told)[0].value
        {'JFK': 1}
        """
        every = microseconds(interval, "timer interval")
        if every <= 0:
            raise DeclarationError(f"a timer's interval must be positive, not {interval!r}.")
        return self._timed("a timer", on_leader, tables, interval=every)

    def crontab(
        self, spec: str, *, timezone: str = "UTC", on_leader: bool = True, tables: Iterable[AgentTable] = ()
    ) -> Callable[[Function], Function]:
        """Call a coroutine when a cron expression says so: `"0 9 * * 1-5"` is at nine on weekdays.

        `timezone` is a name of the IANA database. When its clocks change, jobs at times that are left out run at
        the change, and those at times that come twice run once, as in Debian's cron. A time that goes by while no
        worker runs is not made up for. Where it runs is as for `timer`.

        >>> told = app.topic("told", value=str)
        >>> @app.crontab("0 9 * * *", timezone="Europe/Berlin")
        ... async def good_morning():
        ...     await told.send("nine")
        >>> with app.test(now=0.0) as t:  # at one in Berlin
        ...     t.advance("8h")
        ...     [(r.value, r.timestamp) for r in t.output(told)]
        [('nine', 28800.0)]
        """
        zone = check_zone(timezone)
        try:
            CronSim(spec, dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        except (CronSimError, AttributeError, TypeError) as error:
            raise DeclarationError(
                f"crontab {spec!r} is none ({error}): write minute, hour, day, month and weekday, such as '0 9 * * *'."
            ) from None
        return self._timed("a crontab", on_leader, tables, interval=0, cron=spec, timezone=zone)

    def _timed(
        self, what: str, on_leader: bool, tables: Iterable[AgentTable], **when: Any
    ) -> Callable[[Function], Function]:
        named = self._own_tables(tables)

        def declare(function: Function) -> Function:
            check_coroutine(function, what, "…")
            step = self._new_step(function.__name__, numbered=False)
            node = TimerNode(id=step, function=function.__qualname__, tables=named, everywhere=not on_leader, **when)
            self._add(node, function)
            return function

        return declare

    def task(self, function: Function | None = None, *, on_leader: bool = False) -> Any:
        """Run a coroutine once in every worker, when it is ready: `@app.task`. It may run for as long as the worker.

        With `@app.task(on_leader=True)` one worker of the group runs it; when that one leaves, another runs it anew.
        It may send to topics and ask agents. What it raises ends the worker.

        >>> told = app.topic("told", value=str)
        >>> @app.task
        ... async def announce():
        ...     await told.send("a worker is ready")
        >>> with app.test() as t:
        ...     t.output(told)[0].value
        'a worker is ready'
        """

        def declare(function: Function) -> Function:
            check_coroutine(function, "a task", "…")
            step = self._new_step(function.__name__, numbered=False)
            self._add(TaskNode(id=step, function=function.__qualname__, on_leader=on_leader), function)
            return function

        return declare if function is None else declare(function)
