"""polars columns of lists and bytes as flat numpy arrays, and back, by way of Arrow's buffers: no copy, no loop.

Only `from_buffers` and `buffers` are used: pyarrow's own conversions load pandas where that is installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


def flat_lists(column: pl.Series) -> tuple[Array, Ints]:
    """Return the values of a column of lists of numbers, without nulls, and the row lengths."""
    lists = column.rechunk().to_arrow()
    offsets = np.frombuffer(lists.buffers()[1], np.int64)[lists.offset : lists.offset + len(lists) + 1]
    values = lists.values
    flat: Array = np.frombuffer(values.buffers()[1] or b"", values.type.to_pandas_dtype())[values.offset :]
    return flat[offsets[0] : offsets[-1]] if len(lists) else flat[:0], np.diff(offsets)


def lists_of(name: str, values: Array, lengths: Ints) -> pl.Series:
    """Return a column of lists."""
    return _in_lists(_arrow(values), lengths).alias(name)


def lists_over(values: pl.Series, lengths: Ints) -> pl.Series:
    """Return a column of lists of values of any type, nulls among them, under their name."""
    return _in_lists(values.rechunk().to_arrow(), lengths).cast(pl.List(values.dtype)).alias(values.name)


def flat_bytes(column: pl.Series) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Return the bytes of a binary column without nulls, one after the other, and the row lengths."""
    rows = column.rechunk().to_arrow()
    _, offset_buffer, data = rows.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[rows.offset : rows.offset + len(rows) + 1]
    flat = np.frombuffer(data or b"", np.uint8)
    return flat[offsets[0] : offsets[-1]] if len(rows) else flat[:0], np.diff(offsets)


def _arrow(values: Array) -> pa.Array:
    flat = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])


def _in_lists(values: pa.Array, lengths: Ints) -> pl.Series:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    lists = pl.from_arrow(pa.LargeListArray.from_arrays(_arrow(offsets), values))
    assert isinstance(lists, pl.Series)
    return lists
