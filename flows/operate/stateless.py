"""Steps without memory: filter, projection, and Python functions over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from flows.operate.base import META, ROW, Batch, DeadLetters, FrameStep
from flows.operate.group_keys import Text, refuse_oversized, refuse_unkeyed


def filter_step(predicate: pl.Expr, then: FrameStep) -> FrameStep:
    """Pass on the rows for which the predicate is true."""

    def run(frame: pl.DataFrame, batch: Batch) -> None:
        kept = frame.filter(predicate)
        if kept.height:
            then(kept, batch)

    return run


def project_step(columns: list[pl.Expr], keep_rest: bool, then: FrameStep) -> FrameStep:
    """Compute columns and pass them on, with the rest of the row or instead of it."""
    meta = [pl.col(name) for name in META]

    def run(frame: pl.DataFrame, batch: Batch) -> None:
        then(frame.with_columns(columns) if keep_rest else frame.select([*columns, *meta]), batch)

    return run


class RowBuilder:
    """Make row objects of frame rows: the batch's own objects where no step changed the columns."""

    def __init__(self, fields: tuple[str, ...], type_: type[msgspec.Struct], original: bool) -> None:
        self._fields, self._type, self._original = fields, type_, original

    def objects(self, frame: pl.DataFrame, batch: Batch) -> list[Any]:
        if self._original and batch.objects is not None:
            objects = batch.objects
            places = frame[ROW].to_numpy()
            # Each once: of a merged stream a record may come by several ways, or by none.
            if len(places) == len(objects) and (places == np.arange(len(places))).all():
                return list(objects)
            return [objects[i] for i in places.tolist()]
        build, fields = self._type, self._fields
        rows = zip(*(frame[f].to_list() for f in fields), strict=True)
        if build.__match_args__ != fields:  # some are keyword only
            return [build(**dict(zip(fields, row, strict=True))) for row in rows]
        return [build(*row) for row in rows]


def map_step(
    step: str,
    function: Callable[[Any], Any],
    rows: RowBuilder,
    out: type[msgspec.Struct],
    columns: dict[str, Any],
    dead: DeadLetters,
    then: FrameStep,
    *,
    many: bool = False,
) -> FrameStep:
    """Call a function for each row; what raises or returns another type is refused, None drops the row.

    With `many` it returns an iterable; if one of its items does not fit, the row is refused with all of them.
    """

    def made(value: Any) -> list[Any]:
        result = function(value)
        results = [] if result is None else list(result) if many else [result]
        for item in results:
            if not isinstance(item, out):
                expected = f"{out.__name__}s" if many else f"{out.__name__} or None"
                raise _WrongType(f"returned {type(item).__name__}, expected {expected}")
        return results

    def run(frame: pl.DataFrame, batch: Batch) -> None:
        kept: list[int] = []
        results: list[Any] = []
        rows_of = frame[ROW].to_list()
        for place, value in enumerate(rows.objects(frame, batch)):
            try:
                items = made(value)
            except Exception as error:  # noqa: BLE001  (the person's function may raise anything)
                reason = f"{error}" if isinstance(error, _WrongType) else f"{type(error).__name__}: {error}"
                dead.refuse(step, batch.records, rows_of[place], reason)
                continue
            kept += [place] * len(items)
            results += items
        mapped = _columns(results, columns)
        if mapped is None:
            problems: dict[int, str] = {}
            for place, result in zip(kept, results, strict=True):
                problem = _unfit(result, columns)
                if problem and place not in problems:
                    problems[place] = problem
                    dead.refuse(step, batch.records, rows_of[place], problem)
            results = [r for place, r in zip(kept, results, strict=True) if place not in problems]
            kept = [place for place in kept if place not in problems]
            mapped = _columns(results, columns)
        if kept and mapped is not None:
            meta = frame.select(META)
            meta = meta if kept == list(range(frame.height)) else meta[kept]
            then(pl.DataFrame([*mapped, *meta.get_columns()]), batch)

    return run


class _WrongType(Exception):
    """A function returned what it must not."""


def _columns(rows: list[Any], columns: dict[str, Any]) -> list[pl.Series] | None:
    """Turn row objects into columns; None where a value does not fit, which a Record does not check when it is made."""
    try:
        return [pl.Series(n, [getattr(r, n) for r in rows], dtype=t) for n, t in columns.items()]
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return None


def _unfit(row: Any, columns: dict[str, Any]) -> str | None:
    """Say which field of a row does not fit its column."""
    for name, dtype in columns.items():
        if _columns([row], {name: dtype}) is None:
            return f"returned {name}={getattr(row, name)!r}, which is no {dtype}"
    return None


def group_step(
    step: str,
    keys: tuple[str, ...],
    needs_time: bool,
    dead: DeadLetters,
    then: FrameStep,
    texts: Sequence[Text] = (),
) -> FrameStep:
    """Pass on the rows that can be grouped, with no text longer than it may be; the others are refused."""

    def run(frame: pl.DataFrame, batch: Batch) -> None:
        kept = refuse_unkeyed(step, frame, batch, keys, needs_time, dead)
        kept = refuse_oversized(step, kept, batch, texts, dead)
        if kept.height:
            then(kept, batch)

    return run
