"""The RocksDB store: one database a task, a column family a table, one atomic write a flush.

Rows, positions and metadata share a write batch and a write-ahead log, so that a crash leaves a prefix of the
writes with the positions that belong to it. Positions, metadata and the ids of changelogs live in the column family
`default`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote
from weakref import WeakSet

from rocksdict import Rdict, WriteBatch

from flows.clock import Clock, SystemClock
from flows.errors import StateError
from flows.state.base import Rows, StoreWrite
from flows.state.keys import prefix_end
from flows.state.rocks_errors import OWNER_NOTE, translate
from flows.state.rocks_open import open_beside_writer, open_to_write
from flows.state.rocks_options import RocksResources
from flows.state.rocks_read import RocksSnapshot, View, get_sorted
from flows.state.rocks_write import (
    LAST_WRITE,
    POSITION,
    change_batch,
    changelog_key,
    drop_batch,
    metadata_key,
    read_time,
)

_log = logging.getLogger(__name__)
_TABLE = "t:"
_PLACES = "default"
_SNAPSHOT_ATTEMPTS = 20


class RocksStore:
    """A task's tables in a folder.

    `read_only` opens the folder as it is now, even while another process writes it. Raises `StateLocked` when
    another process holds the folder, `StateCorrupt` when its files are damaged, `StateError` for anything else.
    """

    def __init__(
        self,
        path: str | Path,
        resources: RocksResources,
        *,
        read_only: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._options, self._clock = resources.options, clock or SystemClock()
        self._writing = threading.Lock()
        self._snapshots: WeakSet[RocksSnapshot] = WeakSet()
        opener = open_beside_writer if read_only else open_to_write
        db, names = opener(self.path, resources.options)
        self._db: Rdict | None = db
        tables = {unquote(name.removeprefix(_TABLE)): name for name in names if name.startswith(_TABLE)}
        self._families = {table: db.get_column_family(name) for table, name in tables.items()}
        self._handles = {table: db.get_column_family_handle(name) for table, name in tables.items()}
        self._positions = self._read_positions()
        self._tops: dict[str, bytes | None] = {table: self._last_key(table) for table in self._families}

    def tables(self) -> set[str]:
        return set(self._families)

    def create_table(self, name: str) -> None:
        if name in self._families:
            return
        db = self._writable()
        family = _TABLE + quote(name, safe="")
        try:
            self._families[name] = db.create_column_family(family, self._options)
        except Exception as error:
            raise translate(error, self.path) from error
        self._handles[name] = db.get_column_family_handle(family)
        self._tops[name] = None

    def drop_table(self, name: str) -> None:
        """Remove a table in two steps, each safe to crash after.

        1. One write removes the rows, the position and the metadata: a position never outlives its rows.
        2. The empty column family goes.
        """
        if name not in self._families:
            return
        db = self._writable()
        # 1
        self._apply(drop_batch(name, self._handles[name], self._last_key(name)))
        self._positions.pop(name, None)
        # 2
        del self._families[name], self._handles[name], self._tops[name]
        try:
            db.drop_column_family(_TABLE + quote(name, safe=""))
        except Exception as error:
            raise translate(error, self.path) from error

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        family = self._family(table)
        top = self._tops[table]
        try:
            if top is None or min(keys, default=b"") > top:
                return [None] * len(keys)
            return get_sorted(family, keys, top)
        except Exception as error:
            raise translate(error, self.path) from error

    def scan(self, table: str, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False) -> Rows:
        return self._snapshot({table: self._family(table)}).scan(table, start, end, reverse=reverse)

    def write(self, change: StoreWrite) -> None:
        for table in {*change.puts, *change.ranges, *change.positions}:
            self._family(table)
        batch, tops = change_batch(change, self._handles, self._clock.now())
        # Raised before the write: a look-up beside it in another thread must not take a new key for missing.
        for table, last in tops.items():
            self._tops[table] = max(self._tops[table] or b"", last)
        self._apply(batch)
        self._positions.update(change.positions)

    def positions(self) -> Mapping[str, int]:
        return dict(self._positions)

    def last_write(self) -> float | None:
        found = self._place(LAST_WRITE)
        return None if found is None else read_time(found)

    def metadata(self, table: str) -> bytes | None:
        return self._place(metadata_key(table))

    def set_metadata(self, items: Iterable[tuple[str, bytes]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for table, value in items:
            self._family(table)
            batch.put(metadata_key(table), value)
        self._apply(batch)

    def changelog_id(self, table: str) -> str | None:
        found = self._place(changelog_key(table))
        return None if found is None else found.decode()

    def set_changelog_ids(self, items: Iterable[tuple[str, str]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for table, found in items:
            self._family(table)
            batch.put(changelog_key(table), found.encode())
        self._apply(batch)

    def snapshot(self) -> RocksSnapshot:
        return self._snapshot(self._families)

    def size(self) -> int:
        names = ("rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
        return sum(family.property_int_value(name) or 0 for family in self._families.values() for name in names)

    def flush(self) -> None:
        try:
            self._writable().flush_wal(True)
        except Exception as error:
            raise translate(error, self.path) from error

    def close(self) -> None:
        """Write everything out and free the folder; open snapshots end with it.

        What RocksDB cannot write out any more is logged: its log has every write, and the next open tells.
        """
        if self._db is None:
            return
        for snapshot in list(self._snapshots):
            snapshot.close()
        db, self._db = self._db, None
        self._families.clear()
        self._handles.clear()
        if not self.read_only:
            (self.path / OWNER_NOTE).unlink(missing_ok=True)
        try:
            db.close()
        except Exception as error:  # noqa: BLE001  # rocksdict knows no narrower one
            _log.warning("closing: %s", translate(error, self.path))

    def _family(self, table: str) -> Rdict:
        try:
            return self._families[table]
        except KeyError:
            if self._db is None:
                raise _closed(self.path) from None
            known = ", ".join(sorted(self._families)) or "none"
            raise StateError(
                f"the state in {self.path} has no table {table!r} (it has: {known})", fix="create it first"
            ) from None

    def _opened(self) -> Rdict:
        if self._db is None:
            raise _closed(self.path)
        return self._db

    def _writable(self) -> Rdict:
        if self.read_only:
            raise StateError(f"the state in {self.path} is open read-only", fix="open it without read_only")
        return self._opened()

    def _apply(self, batch: WriteBatch) -> None:
        db = self._writable()
        try:
            with self._writing:
                db.write(batch)
        except Exception as error:
            raise translate(error, self.path) from error

    def _snapshot(self, families: Mapping[str, Rdict]) -> RocksSnapshot:
        """Take one snapshot of several column families: all of them at the same sequence number."""
        db = self._opened()
        for _ in range(_SNAPSHOT_ATTEMPTS):
            before = db.latest_sequence_number()
            views = _views(families)
            if db.latest_sequence_number() == before:
                break
        else:
            with self._writing:
                views = _views(families)
        snapshot = RocksSnapshot(self.path, views)
        self._snapshots.add(snapshot)
        return snapshot

    def _place(self, key: bytes) -> bytes | None:
        try:
            found: bytes | None = self._opened().get(key)
        except Exception as error:
            raise translate(error, self.path) from error
        return found

    def _last_key(self, table: str) -> bytes | None:
        return next((key for key, _ in self.scan(table, reverse=True)), None)

    def _read_positions(self) -> dict[str, int]:
        places = self._snapshot({_PLACES: self._opened()})
        found = places.scan(_PLACES, POSITION, prefix_end(POSITION))
        return {key[len(POSITION) :].decode(): int.from_bytes(value, "big") for key, value in found}


def _views(families: Mapping[str, Rdict]) -> dict[str, View]:
    return {name: View(family.snapshot(), family.iter()) for name, family in families.items()}


def _closed(path: Path) -> StateError:
    return StateError(f"the state in {path} is closed", fix="open it again")
