"""The nodes of what runs by the clock or with a worker, and of what feeds topics."""

from __future__ import annotations

import msgspec


class TimerNode(msgspec.Struct, frozen=True, kw_only=True, tag="timer"):
    """A coroutine called every `interval` microseconds, or by a `cron` expression, in each task that holds its tables.

    One without tables runs once in the group, or in each worker (`everywhere`).
    """

    id: str
    function: str
    interval: int
    cron: str = ""
    timezone: str = ""
    everywhere: bool = False
    tables: tuple[str, ...] = ()


class TaskNode(msgspec.Struct, frozen=True, kw_only=True, tag="task"):
    """A coroutine that runs once in each worker, or in one of the group."""

    id: str
    function: str
    on_leader: bool = False


class SourceNode(msgspec.Struct, frozen=True, kw_only=True, tag="source"):
    """A function that yields records from a position on, into a topic, exactly once."""

    id: str
    function: str
    topic: str
