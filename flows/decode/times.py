"""Event times: from a record's field, or from the record itself, to microseconds since the epoch."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from dsl.plan.nodes import TopicNode
from dsl.plan.types import Kind
from flows.brokers.base import Records
from flows.operate.base import NO_TIME, DeadLetters, Times

_LIMIT = 253_402_300_800_000_000  # the end of the year 9999
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FACTOR = {"s": 1_000_000, "ms": 1_000, "us": 1}


class EventTimes:
    """Read the event times of a topic's records. A null field gives `NO_TIME`: such a record never moves time."""

    def __init__(self, node: TopicNode, now: Callable[[], float], max_ahead: float) -> None:
        self._node, self._now = node, now
        self._max_ahead = round(max_ahead * 1_000_000)
        field = None if node.timestamp is None or node.schema is None else node.schema.get(node.timestamp)
        self._is_datetime = field is not None and field.kind is Kind.DATETIME
        self._factor = _FACTOR[node.unit]

    def read(self, records: Records, objects: Sequence[Any], dead: DeadLetters) -> tuple[Times, list[int]]:
        """Return all times, and the places of the rows whose time is refused."""
        times = self._times(records, objects)
        latest = round(self._now() * 1_000_000) + self._max_ahead
        bad = np.flatnonzero((times > latest) | ((times < -_LIMIT) & (times != NO_TIME)))
        for i in bad.tolist():
            dead.refuse(self._node.id, records, i, self._reason(int(times[i]), latest), on_error=self._node.on_error)
        return times, bad.tolist()

    def _reason(self, time: int, latest: int) -> str:
        if abs(time) >= _LIMIT:
            return f"timestamp {self._node.timestamp or 'of the record'} is no time between the years 1 and 9999"
        ahead = (time - latest + self._max_ahead) / 1_000_000
        return f"timestamp is {ahead:.0f} s ahead of the clock, more than max_ahead={self._max_ahead / 1e6:g} s"

    def _times(self, records: Records, objects: Sequence[Any]) -> Times:
        if self._node.timestamp is None:
            return np.array(records.timestamps, dtype=np.int64) * 1_000
        return self.of_values(objects)

    def of_values(self, objects: Sequence[Any]) -> Times:
        """Return the times in the declared field of values."""
        field = self._node.timestamp
        assert field is not None
        values = list(map(attrgetter(field), objects))
        if self._is_datetime:
            return np.array([NO_TIME if v is None else _microseconds(v) for v in values], dtype=np.int64)
        try:
            exact = np.array(values, dtype=np.float64) * self._factor
        except OverflowError:
            exact = np.array([_as_float(v) for v in values]) * self._factor
        unusable = ~(np.abs(exact) < _LIMIT)
        if not unusable.any():
            return np.rint(exact).astype(np.int64)
        times = np.rint(np.where(unusable, 0, exact)).astype(np.int64)
        times[unusable] = [NO_TIME if values[i] is None else _LIMIT for i in np.flatnonzero(unusable).tolist()]
        return times


def _as_float(value: float | None) -> float:
    try:
        return float("nan") if value is None else float(value)
    except OverflowError:
        return float("inf")


def _microseconds(value: dt.datetime) -> int:
    """Turn a datetime into microseconds; one without a time zone is taken as UTC."""
    aware = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // dt.timedelta(microseconds=1)
