"""Tables in plain memory with the real change hub: what the web server is tested on."""

from __future__ import annotations

import builtins
from typing import Any

import polars as pl

from flows.query.base import Change, Missing, Row, TableInfo, key_contains, note_missing
from flows.query.live import ChangeHub, Subscription


class MemoryTables:
    """Serves rows from dicts; `put` and `remove` are commits of one table."""

    def __init__(self, bound: int = 10_000) -> None:
        self.hub = ChangeHub(bound)
        self.missing: builtins.list[Missing] = []
        self._infos: dict[str, TableInfo] = {}
        self._rows: dict[str, dict[tuple[Any, ...], Row]] = {}

    def add(self, name: str, keys: tuple[str, ...], values: dict[str, str], window: str | None = None) -> None:
        bounds = (("window_start", "float"), ("window_end", "float")) if window else ()
        columns = (*((key, "str") for key in keys), *bounds, *values.items())
        kind = "dictionary" if keys == ("key",) else "declared"
        self._infos[name] = TableInfo(
            name=name, kind=kind, columns=columns, keys=keys, window=window, partitions=(0, 1)
        )
        self._rows[name] = {}

    def put(self, name: str, *rows: Row) -> None:
        changes = [Change(key=self._key(name, row), row=row) for row in rows]
        for change, row in zip(changes, rows, strict=True):
            self._rows[name][tuple(change.key.values())] = row
        self.hub.publish(name, changes)

    def remove(self, name: str, *rows: Row) -> None:
        changes = [Change(key=self._key(name, row), row=None) for row in rows]
        for change in changes:
            del self._rows[name][tuple(change.key.values())]
        self.hub.publish(name, changes)

    def list(self) -> list[TableInfo]:
        return list(self._infos.values())

    async def rows(
        self,
        table: str,
        *,
        key: str | None = None,
        window: float | None = None,
        limit: int = 1000,
        missing: builtins.list[Missing] | None = None,
    ) -> builtins.list[Row]:
        note_missing(missing, self.missing)
        rows = sorted(self._rows[table].values(), key=lambda row: -row.get("window_start", 0.0))
        wanted = (row for row in rows if window is None or row["window_start"] == window)
        return [row for row in wanted if key is None or key_contains(self._key(table, row), key)][:limit]

    async def windows(
        self, table: str, *, limit: int = 200, missing: builtins.list[Missing] | None = None
    ) -> builtins.list[float]:
        note_missing(missing, self.missing)
        starts = {row["window_start"] for row in self._rows[table].values() if "window_start" in row}
        return sorted(starts, reverse=True)[:limit]

    async def frame(self, table: str, *, missing: builtins.list[Missing] | None = None) -> pl.DataFrame:
        note_missing(missing, self.missing)
        return pl.DataFrame(list(self._rows[table].values()))

    def changes(self, table: str) -> Subscription:
        return self.hub.subscribe(table)

    def _key(self, table: str, row: Row) -> Row:
        info = self._infos[table]
        names = (*info.keys, "window_start", "window_end") if info.window else info.keys
        return {name: row[name] for name in names}
