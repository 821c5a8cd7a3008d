"""Sums that can be taken back: of rows that come and go, exactly.

Of each argument a group keeps six integers: how many values there are; how many of them are NaN, inf and -inf; the sum
of the rest and the sum of their squares. Floats count as integers of 2^-1074, the smallest of them, so that nothing is
rounded until a result is read, and a row that goes leaves no trace. A result is the float nearest to the exact one.

A state is a msgpack array `[time, rows, [six integers] …]`, time being the largest event time in microseconds; an
integer of more than 64 bits is `[n, bytes]`, n bits to the left of two's complement, big-endian.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import add
from typing import Any

import msgspec
import polars as pl

from dsl.plan.exprs import ExprNode
from dsl.plan.nodes import AggregateCall
from dsl.plan.types import Kind
from flows.operate.base import NO_TIME, TIME

_BITS = 1074
_INT64 = range(-(1 << 63), 1 << 63)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode

Sums = list[int]
"""Values, NaNs, infs, -infs, sum, sum of squares."""

_NOTHING: Sums = [0, 0, 0, 0, 0, 0]


class Group:
    """What came to a group and what went: the largest event time, the number of rows, and the sums by argument."""

    __slots__ = ("rows", "sums", "time")

    def __init__(self, time: int, rows: int, sums: list[Sums]) -> None:
        self.time, self.rows, self.sums = time, rows, sums

    def add(self, other: Group) -> None:
        """Add what another one has."""
        self.time = max(self.time, other.time)
        self.rows += other.rows
        self.sums = [list(map(add, mine, more)) for mine, more in zip(self.sums, other.sums, strict=True)]


class ExactAggregation:
    """The aggregates of a table over another one's rows. `inputs` names the columns of their arguments."""

    def __init__(self, calls: Sequence[AggregateCall]) -> None:
        self.calls = tuple(calls)
        self.inputs: list[tuple[str, ExprNode]] = []
        self._scales: list[int] = []
        self._places = [self._place(call) for call in calls]

    def _place(self, call: AggregateCall) -> int:
        """Return which of the arguments is a call's; equal expressions are one. -1 for none."""
        if call.argument is None:
            return -1
        assert call.argument_type is not None
        kind = call.argument_type.kind
        text = repr(call.argument)
        known = [repr(expr) for _, expr in self.inputs]
        if text not in known:
            known.append(text)
            self.inputs.append((f"$a{len(self.inputs)}", call.argument))
            self._scales.append(_BITS if kind is Kind.FLOAT else 0 if kind is Kind.INT else -1)
        return known.index(text)

    def nothing(self) -> Group:
        """Return a group without rows."""
        return Group(NO_TIME, 0, [_NOTHING] * len(self.inputs))

    def row(self, sign: int, time: int, values: Sequence[Any]) -> Group:
        """Return one row that comes (sign 1) or goes (-1)."""
        sums = [_counted(value, scale) for value, scale in zip(values, self._scales, strict=True)]
        return Group(time, sign, sums if sign > 0 else [[-number for number in one] for one in sums])

    def encode(self, group: Group) -> bytes:
        """Return a group's state."""
        return _encode([group.time, group.rows, *([_packed(n) for n in one] for one in group.sums)])

    def decode(self, state: bytes) -> Group:
        """Return a state's group."""
        time, rows, *sums = _decode(state)
        return Group(time, rows, [[_unpacked(n) for n in one] for one in sums])

    def results(self, states: Sequence[bytes]) -> pl.DataFrame:
        """Return the result columns by name, in declared order, and `$time`, the latest event time of each group."""
        groups = [self.decode(state) for state in states]
        columns = []
        for call, place in zip(self.calls, self._places, strict=True):
            if place < 0:
                columns.append(_integers(call.name, [group.rows for group in groups]))
                continue
            scale = self._scales[place]
            values = [_RESULTS[call.function](group.sums[place], scale, call) for group in groups]
            whole = call.function == "count" or (call.function == "sum" and not scale)
            columns.append(_integers(call.name, values) if whole else pl.Series(call.name, values, dtype=pl.Float64))
        return pl.DataFrame([*columns, pl.Series(TIME, [group.time for group in groups], dtype=pl.Int64)])


def _counted(value: Any, scale: int) -> Sums:
    if value is None:
        return _NOTHING
    if scale < 0:
        return [1, 0, 0, 0, 0, 0]
    if scale and not math.isfinite(value):
        return [1, int(math.isnan(value)), int(value > 0), int(value < 0), 0, 0]
    whole = _whole(value) if scale else int(value)
    return [1, 0, 0, 0, whole, whole * whole]


def _whole(value: float) -> int:
    """Return a finite float as a number of 2^-1074."""
    numerator, denominator = value.as_integer_ratio()
    whole: int = numerator << (_BITS + 1 - denominator.bit_length())
    return whole


def _sum(sums: Sums, scale: int, call: AggregateCall) -> float | int:
    if not scale:
        return sums[4]
    special = _special(sums)
    return _quotient(sums[4], 1 << scale) if special is None else special


def _mean(sums: Sums, scale: int, call: AggregateCall) -> float | None:
    if not sums[0]:
        return None
    special = _special(sums)
    return _quotient(sums[4], sums[0] << scale) if special is None else special


def _variance(sums: Sums, scale: int, call: AggregateCall) -> float | None:
    count, ddof = sums[0], int(dict(call.options)["ddof"])
    if count <= ddof:
        return None
    if _special(sums) is not None:
        return math.nan
    square = _quotient(count * sums[5] - sums[4] ** 2, (count * (count - ddof)) << (2 * scale))
    return square if math.isfinite(square) else math.nan


def _deviation(sums: Sums, scale: int, call: AggregateCall) -> float | None:
    square = _variance(sums, scale, call)
    return None if square is None else math.sqrt(square)


_RESULTS: dict[str, Callable[[Sums, int, AggregateCall], float | int | None]] = {
    "count": lambda sums, scale, call: sums[0],
    "sum": _sum,
    "mean": _mean,
    "var": _variance,
    "std": _deviation,
}


def _special(sums: Sums) -> float | None:
    """Return the sum where a value is no number; None where all are."""
    _, nans, highs, lows, *_ = sums
    if nans or (highs and lows):
        return math.nan
    return math.inf if highs else -math.inf if lows else None


def _quotient(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def _packed(number: int) -> Any:
    if number in _INT64:
        return number
    shift = (number & -number).bit_length() - 1
    number >>= shift
    return [shift, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)]


def _unpacked(packed: Any) -> int:
    if isinstance(packed, int):
        return packed
    shift, data = packed
    whole: int = int.from_bytes(data, "big", signed=True) << shift
    return whole


def _integers(name: str, values: Sequence[Any]) -> pl.Series:
    fits = all(value in _INT64 for value in values)
    return pl.Series(name, values, dtype=pl.Int64 if fits else pl.Int128)
