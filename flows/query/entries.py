"""Entries on their way between workers: an Arrow stream of key and value bytes, as they lie in the store.

Bytes, because the worker that was asked decodes them all together: rows, column types and order are then those of one
worker that holds every partition. What the answering worker could not read is in the stream's metadata.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pyarrow as pa

from flows.query.base import Missing, Part
from flows.query.rows import Entry

_MISSING, _ROWS = b"flows.missing", b"flows.rows"
_BATCH = 65_536


class NotEntries(Exception):
    """Bytes that are no such stream."""


def pack(part: Part) -> bytes:
    """Encode a part.

    >>> unpack(pack(Part([(b"k", b"v")], []))).entries
    [(b'k', b'v')]
    """
    schema = pa.schema(
        [pa.field("key", pa.large_binary(), nullable=False), pa.field("value", pa.large_binary(), nullable=False)],
        metadata={_MISSING: msgspec.json.encode(part.missing), _ROWS: b"%d" % len(part.entries)},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        for start in range(0, len(part.entries), _BATCH):
            rows = part.entries[start : start + _BATCH]
            columns = [pa.array(c, type=pa.large_binary()) for c in zip(*rows, strict=True)]
            stream.write_batch(pa.record_batch(columns, schema=schema))
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(body: bytes) -> Part:
    """Decode a part. Raises `NotEntries`."""
    try:
        with pa.ipc.open_stream(body) as stream:
            told = stream.schema.metadata or {}
            missing = msgspec.json.decode(told[_MISSING], type=list[Missing])
            table = stream.read_all()
            table.validate(full=True)
        # A stream that ends after one of its batches is whole to Arrow.
        if table.num_rows != int(told[_ROWS]):
            raise ValueError(f"{table.num_rows} of {told[_ROWS]!r} rows")
        return Part(_entries(table), missing)
    except (pa.ArrowException, msgspec.DecodeError, OSError, KeyError, TypeError, ValueError) as error:
        raise NotEntries(f"no stream of entries: {error}") from error


def _entries(table: pa.Table) -> list[Entry]:
    keys: Sequence[bytes] = table.column("key").to_pylist()
    values: Sequence[bytes] = table.column("value").to_pylist()
    if table.schema.types != [pa.large_binary(), pa.large_binary()] or None in keys or None in values:
        raise TypeError(f"its columns are {table.schema.types}")
    return list(zip(keys, values, strict=True))
