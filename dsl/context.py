"""The door through which declared objects reach the running engine, without the language importing it.

The engine sets `current` around each agent, timer and task; topics and tables ask it who they are there.
"""

from __future__ import annotations

from collections.abc import Iterator
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


class Runtime(Protocol):
    """What a declared object may ask of the engine."""

    tables: dict[str, TableAccess]

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
