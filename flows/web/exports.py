"""Whole tables as files, written piece by piece: what is not yet taken is not yet made."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import polars as pl

from flows.query.base import key_contains, narrowed
from flows.web.answers import to_json

TYPES = {"csv": "text/csv", "json": "application/json", "parquet": "application/vnd.apache.parquet"}
"""The content types of the formats there are."""

_ROWS = 20_000
_JSON_ROWS = 1_000
"""Rows of one piece; JSON is made in the event loop, a little at a time."""
_BYTES = 1 << 20


def chosen(frame: pl.DataFrame, keys: tuple[str, ...], key: str | None, window: float | None) -> pl.DataFrame:
    """Return the rows of a window, and those one of whose key columns contains a text."""
    if window is not None:
        frame = frame.filter(pl.col("window_start") == window)
    if key is not None:
        frame = frame.filter([key_contains(row, key) for row in frame.select(keys).iter_rows(named=True)])
    return frame


def pieces(frame: pl.DataFrame, how: str) -> AsyncIterator[bytes]:
    """Yield a frame as a file in one of the formats of `TYPES`."""
    return {"csv": _csv, "json": _json, "parquet": _parquet}[how](frame)


async def _csv(frame: pl.DataFrame) -> AsyncIterator[bytes]:
    """A header and a line a row: null is empty; lists and other nested values are JSON."""
    plain = await asyncio.to_thread(_flat, frame)
    yield (",".join(map(_quoted, plain.columns)) + "\n").encode()
    for part in plain.iter_slices(_ROWS):
        yield (await asyncio.to_thread(part.write_csv, include_header=False)).encode()


async def _json(frame: pl.DataFrame) -> AsyncIterator[bytes]:
    """An array of objects, one a line, with the values of the API."""
    before = b"[\n"
    for part in frame.iter_slices(_JSON_ROWS):
        lines = [to_json(row) for row in part.iter_rows(named=True)]
        yield before + b",\n".join(lines)
        before = b",\n"
        await asyncio.sleep(0)
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


async def _parquet(frame: pl.DataFrame) -> AsyncIterator[bytes]:
    file = io.BytesIO()
    await asyncio.to_thread(lambda: narrowed(frame).write_parquet(file, compression="zstd"))
    content = file.getbuffer()
    for start in range(0, len(content), _BYTES):
        yield bytes(content[start : start + _BYTES])


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose columns all have a form in CSV."""
    return frame.with_columns(
        pl.Series(name, [_cell(value) for value in frame[name].to_list()], dtype=pl.String)
        for name, dtype in frame.schema.items()
        if dtype.is_nested() or dtype in (pl.Binary, pl.Int128, pl.Object)
    )


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    text = to_json(value).decode()
    # Bytes and wide whole numbers are JSON's strings, whose quotes are no part of them.
    return msgspec.json.decode(text, type=str) if isinstance(value, bytes | int) and text[0] == '"' else text


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(mark in name for mark in '",\r\n') else name
