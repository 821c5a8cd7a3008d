"""States as bytes: one msgpack array a row, `[time, field, field, …]`, in the order of the table's cells.

| field type | msgpack |
|---|---|
| time | event time of the group's latest record, int, microseconds since the epoch |
| Int64 | int; beyond 64 bits: bin of 16 bytes, two's complement, little-endian; nil |
| Float64, Boolean, String, Binary | float 64, bool, str, bin; nil |
| list of one of these | array |

A row of nothing but 64-bit numbers has each of them in the nine-byte form (`d3` int 64, `cb` float 64), so that
many such rows are read and written as one matrix. All other rows take the shortest form. `ENCODING` names this
layout together with that of the cells (buckets, registers, hash): it is part of a table's fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from flows.operate.aggregates.cell import DType

ENCODING = 1

_INT, _FLOAT = 0xD3, 0xCB
_MARKS: dict[DType, int] = {pl.Int64: _INT, pl.Float64: _FLOAT}
_WIRE: dict[DType, Any] = {
    pl.Int64: int | bytes | None,
    pl.Float64: float | None,
    pl.Boolean: bool | None,
    pl.String: str | None,
    pl.Binary: bytes | None,
}
_INT64 = range(-(1 << 63), 1 << 63)
_MOST_FIELDS = 15
Matrix = npt.NDArray[np.uint8]


class Codec:
    """Turns columns of fields into states and back. The first field is the time, an int."""

    def __init__(self, fields: Sequence[tuple[str, DType]]) -> None:
        self._fields = tuple(fields)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoder = msgspec.msgpack.Decoder(list[tuple[tuple(_wire(t) for _, t in fields)]])  # type: ignore[misc]
        numeric = len(fields) <= _MOST_FIELDS and all(t in _MARKS for _, t in fields)
        self._marks = np.array([_MARKS[t] for _, t in fields], np.uint8) if numeric else None

    def encode(self, columns: Sequence[pl.Series]) -> list[bytes]:
        """Return one state a row."""
        if self._marks is None:
            return self._encode_each(columns)
        odd = np.zeros(len(columns[0]), np.bool_)
        for column in columns:
            odd |= _is_odd(column)
        if not odd.any():
            return self._encode_even(columns)
        states: list[bytes] = [b""] * len(odd)
        for rows, encode in ((odd, self._encode_each), (~odd, self._encode_even)):
            chosen = np.flatnonzero(rows)
            for row, state in zip(chosen.tolist(), encode([c[chosen] for c in columns]), strict=True):
                states[row] = state
        return states

    def decode(self, states: Sequence[bytes]) -> pl.DataFrame:
        """Return the fields, one row a state."""
        data = b"".join(states)
        even = self._as_matrix(data, len(states)) if self._marks is not None else None
        if even is not None:
            return pl.DataFrame(self._read_matrix(even))
        rows = self._decoder.decode(b"\xdd" + len(states).to_bytes(4, "big") + data)
        columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else [()] * len(self._fields)
        return pl.DataFrame([_series(n, t, c) for (n, t), c in zip(self._fields, columns, strict=True)])

    def _encode_each(self, columns: Sequence[pl.Series]) -> list[bytes]:
        return list(map(self._encode, zip(*map(_values, columns), strict=True)))

    def _encode_even(self, columns: Sequence[pl.Series]) -> list[bytes]:
        assert self._marks is not None
        count, width = len(columns[0]), 1 + 9 * len(self._marks)
        matrix = np.empty((count, width), np.uint8)
        matrix[:, 0] = 0x90 + len(self._marks)
        matrix[:, 1::9] = self._marks
        for place, column, (_, dtype) in zip(range(2, width, 9), columns, self._fields, strict=True):
            swapped = column.cast(dtype).to_numpy().byteswap()
            matrix[:, place : place + 8] = swapped.view(np.uint8).reshape(count, 8)
        states: list[bytes] = matrix.view(f"V{width}").ravel().tolist()
        return states

    def _as_matrix(self, data: bytes, count: int) -> Matrix | None:
        """Return the states as a matrix when each of them has the nine-byte form throughout."""
        assert self._marks is not None
        width = 1 + 9 * len(self._marks)
        if len(data) != count * width:
            return None
        matrix = np.frombuffer(data, np.uint8).reshape(count, width)
        even = (matrix[:, 0] == 0x90 + len(self._marks)).all() and (matrix[:, 1::9] == self._marks).all()
        return matrix if even else None

    def _read_matrix(self, matrix: Matrix) -> list[pl.Series]:
        columns = []
        for place, (name, dtype) in enumerate(self._fields):
            start = 2 + 9 * place
            number = np.ascontiguousarray(matrix[:, start : start + 8]).view(np.int64).ravel().byteswap()
            columns.append(pl.Series(name, number if dtype is pl.Int64 else number.view(np.float64)))
        return columns


def _is_odd(column: pl.Series) -> npt.NDArray[np.bool_]:
    """Mark the rows without a 64-bit number."""
    odd = column.is_null().to_numpy() if column.null_count() else np.zeros(len(column), np.bool_)
    if column.dtype == pl.Int128:
        fits = column.is_between(_INT64.start, _INT64.stop - 1)
        odd = odd | ~fits.fill_null(False).to_numpy()
    return odd


def _wire(dtype: DType) -> Any:
    """Return the Python type of a field."""
    if isinstance(dtype, pl.List):
        assert isinstance(dtype.inner, type)
        assert issubclass(dtype.inner, pl.DataType)
        return list[_wire(dtype.inner)]  # type: ignore[misc]
    return _WIRE[dtype]


def _values(column: pl.Series) -> list[Any]:
    values = column.to_list()
    if column.dtype == pl.List(pl.Int128):
        return [list(map(_narrow, row)) for row in values]
    return list(map(_narrow, values)) if column.dtype == pl.Int128 else values


def _narrow(value: int | None) -> int | bytes | None:
    return value if value is None or value in _INT64 else value.to_bytes(16, "little", signed=True)


def _series(name: str, dtype: DType, values: Sequence[Any]) -> pl.Series:
    if dtype == pl.List(pl.Int64) and any(bytes in set(map(type, row)) for row in values):
        return pl.Series(name, [list(map(_whole, row)) for row in values], dtype=pl.List(pl.Int128))
    if dtype is pl.Int64 and bytes in set(map(type, values)):
        return pl.Series(name, list(map(_whole, values)), dtype=pl.Int128)
    return pl.Series(name, values, dtype=dtype)


def _whole(value: int | bytes | None) -> int | None:
    return int.from_bytes(value, "little", signed=True) if isinstance(value, bytes) else value
