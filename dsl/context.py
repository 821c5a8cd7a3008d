"""The door through which declared objects reach the running engine, without the language importing it.

The engine sets `current` around each agent, timer and task; topics and tables ask it who they are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol


class TableAccess(Protocol):
    """A dictionary table as one task holds it."""

    def get(self, key: Any) -> Any:
        """Return the value of a key, or the table's default; raises KeyError when there is neither."""

    def peek(self, key: Any, default: Any) -> Any:
        """Return the value of a key, or `default`."""

    def set(self, key: Any, value: Any) -> None: ...

    def delete(self, key: Any) -> None:
        """Remove a key; raises KeyError when there is none."""

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over the partition's keys in key order, own uncommitted writes included."""

    def members(self, group: Any) -> Iterator[tuple[Any, Any]]:
        """Iterate over what has the same first part of its key, as `items` does: a window's rows."""


class Runtime(Protocol):
    """What a declared object may ask of the engine."""

    @property
    def tables(self) -> Mapping[str, TableAccess]:
        """The tables that are at hand, by name, and all global ones, which take no writes."""

    def now(self) -> float:
        """Return the wall clock's time, in seconds since the epoch."""

    def in_hand(self) -> tuple[float | None, Any]:
        """Return the event time in seconds and the value of the record in hand, the last of several.

        The time is None for a record without one, and where no record is in hand.
        """

    async def ask(
        self,
        agent: str,
        topic: Any,
        value: Any,
        key: Any,
        timestamp: float | None,
        partition: int | None,
        headers: dict[str, bytes] | None,
        timeout: float,
        returns: Any,
    ) -> Any:
        """Send a question to an agent's topic at once and return the answer; `timeout` is in seconds."""

    async def send(
        self,
        topic: Any,
        value: Any,
        key: Any,
        timestamp: float | None,
        partition: int | None,
        headers: dict[str, bytes] | None,
    ) -> None:
        """Append a record: with the task's next commit inside a task, at once elsewhere."""


current: ContextVar[Runtime] = ContextVar("flows_runtime")


def runtime(what: str) -> Runtime:
    """Return the engine around the running code; raises RuntimeError naming `what` where there is none."""
    found = current.get(None)
    if found is None:
        raise RuntimeError(f"{what} is only usable inside an agent, a timer or a source of a running worker")
    return found
