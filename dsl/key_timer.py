"""Timers of single keys: set by agents, kept in the state, and each goes off once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dsl.context import current, runtime
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.plan.nodes import TableNode, dues_id, on_close_id
from dsl.table import AgentTable
from dsl.windowed import as_microseconds

if TYPE_CHECKING:
    from dsl.app import App

Function = TypeVar("Function", bound=Callable[..., Any])

_SECOND = 1_000_000


class KeyTimer(AgentTable):
    """At most one timer for each key, set by agents; made by `app.key_timer(…)`.

    When one is due it is removed, and the function given by `on_time` is called with the key and the moment for which
    it was set, in seconds since the epoch. What that writes and sends belongs to the same commit.
    """

    def __init__(self, app: App, name: str, key: Any, time: str) -> None:
        super().__init__(app, name, key, float, None)
        self.time = time

    def __repr__(self) -> str:
        return f"<KeyTimer {self.name}, {self.time} time>"

    def on_time(self, function: Function) -> Function:
        """Have a function or coroutine `(key, due)` called for each timer that goes off: `@reminders.on_time`."""
        node = self.app._nodes[self.name]
        assert isinstance(node, TableNode)
        if not callable(function):
            raise DeclarationError(f"{self.name}.on_time takes a function (key, due), not {function!r}.")
        if node.on_close:
            raise DeclarationError(f"key timer {self.name!r} calls {node.on_close} already: one function is enough.")
        name = getattr(function, "__qualname__", repr(function))
        self.app._add(msgspec.structs.replace(node, on_close=name))
        self.app._functions[on_close_id(self.name, self.time)] = function
        return function

    def set(self, key: Any, *, at: float | dt.datetime | None = None, after: Duration | None = None) -> None:
        """Let a timer go off at a moment, or so long after now; one that the key has is moved.

        `at` is in seconds since the epoch, or a datetime. Now is the event time of the record in hand, or the wall
        clock's for timers of processing time. A moment that is over already is due at once, after the record.
        Raises ValueError where neither or both are given, or where no event time is in hand.
        """
        if (at is None) == (after is None):
            raise ValueError(f'key timer {self.name!r}: set(key, at=…) or set(key, after="15m")')
        due = self._now() + microseconds(after, "after") if after is not None else as_microseconds(at)
        if due is None:
            raise ValueError(f"key timer {self.name!r}: at={at!r} is no time: seconds since the epoch, or a datetime")
        self.cancel(key)
        dues, table = self._dues(), self._here()
        table.set(key, due / _SECOND)
        dues.set((due, key), True)

    def cancel(self, key: Any) -> bool:
        """Remove the timer of a key; tell whether there was one."""
        due = self.get(key)
        if due is None:
            return False
        self._here().delete(key)
        self._dues().delete((round(due * _SECOND), key))
        return True

    def get(self, key: Any) -> float | None:
        """Return when the timer of a key is due, in seconds since the epoch; None where it has none."""
        found: float | None = self._here().peek(key, None)
        return found

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None

    def items(self) -> Iterator[tuple[Any, float]]:
        """Iterate over the partition's keys, in key order, and when their timers are due."""
        return self._here().items()

    def _dues(self) -> Any:
        return current.get().tables[dues_id(self.name)]

    def _now(self) -> int:
        here = runtime(f"key timer {self.name!r}")
        time = here.now() if self.time == "processing" else here.in_hand()[0]
        if time is None:
            raise ValueError(
                f"key timer {self.name!r}: after= counts from the event time in hand, but there is none: use at="
            )
        return round(time * _SECOND)
