"""The two SQLite files of the embedded broker: how they are laid out, created and opened.

`broker.db` holds topics, record batches, producers and positions. `leases.db` holds the groups, apart, so that a
worker busy with records never keeps another from renewing its lease.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from flows.brokers.embedded.faults import database_fault, system_fault
from flows.brokers.embedded.locks import FileLock
from flows.errors import BrokerError, BrokerUnavailable

VERSION = 2
PATIENCE = 5.0  # seconds that a statement waits for another program's lock
_STARTING = 30.0  # seconds to wait for others that start on the same folder
_APPLICATION_ID = 0x464C4F57  # "FLOW", in the header of each file
_WAL_KEPT = 64 << 20  # bytes; a WAL that grew larger shrinks to this when it restarts


class Layout(NamedTuple):
    """One file: its name, how much each commit waits for the disk, and its tables."""

    file: str
    synchronous: str
    tables: tuple[str, ...]


# A batch's id is its partition's id and its first offset in one integer (see `log.SPAN`), so that one b-tree keeps
# each partition's batches together and in order. The columns before `data` are read without touching the blob.
BROKER = Layout(
    "broker.db",
    "FULL",
    (
        """CREATE TABLE topics (
            name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, cleanup TEXT NOT NULL, retention REAL,
            tombstone_retention REAL NOT NULL, internal INTEGER NOT NULL, identity TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE partitions (
            id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, number INTEGER NOT NULL,
            low INTEGER NOT NULL DEFAULT 0, high INTEGER NOT NULL DEFAULT 0, cleaned INTEGER NOT NULL DEFAULT 0,
            UNIQUE (topic, number))""",
        """CREATE TABLE batches (
            id INTEGER PRIMARY KEY, next INTEGER NOT NULL, count INTEGER NOT NULL, appended REAL NOT NULL,
            horizon REAL, data BLOB NOT NULL)""",
        "CREATE INDEX horizons ON batches (horizon) WHERE horizon IS NOT NULL",
        "CREATE TABLE garbage (partition INTEGER PRIMARY KEY)",
        "CREATE TABLE producers (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE TABLE positions (
            team TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL, metadata TEXT NOT NULL,
            PRIMARY KEY (team, partition)) WITHOUT ROWID""",
    ),
)

LEASES = Layout(
    "leases.db",
    "NORMAL",
    (
        """CREATE TABLE teams (
            name TEXT PRIMARY KEY, generation INTEGER NOT NULL, plan TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE members (
            team TEXT NOT NULL, id TEXT NOT NULL, incarnation TEXT NOT NULL, joined INTEGER NOT NULL,
            address TEXT NOT NULL, plan TEXT NOT NULL, tasks TEXT NOT NULL, until REAL NOT NULL,
            lease REAL NOT NULL, PRIMARY KEY (team, id)) WITHOUT ROWID""",
        """CREATE TABLE tasks (
            team TEXT NOT NULL, task TEXT NOT NULL, holder TEXT, target TEXT,
            PRIMARY KEY (team, task)) WITHOUT ROWID""",
    ),
)


def create_files(folder: Path) -> None:
    """Make the folder and its two files unless they exist; several processes may do so at once.

    Raises `BrokerUnavailable` where the folder cannot be used, `BrokerError` where a file is not ours.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "create.lock")
    except OSError as error:
        raise system_fault(error, folder, "use the folder") from error
    try:
        if not lock.take(time.monotonic() + _STARTING, 0.005):  # changing to WAL needs the file for itself
            raise BrokerUnavailable(
                f"cannot open {folder}: another process has been creating it for {_STARTING:.0f} s",
                fix="end that process (it may be stopped) and try again",
            )
        for layout in (BROKER, LEASES):
            _create(folder / layout.file, layout)
    finally:
        lock.close()


def connect(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open an existing file for one thread; raises `sqlite3.Error` where it is gone."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute(f"PRAGMA synchronous={layout.synchronous}")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(f"PRAGMA journal_size_limit={_WAL_KEPT}").fetchone()
    return connection


def _create(path: Path, layout: Layout) -> None:
    try:
        connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        try:
            _lay_out(connection, path, layout)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise database_fault(error, path, "open the broker's file") from error


def _lay_out(connection: sqlite3.Connection, path: Path, layout: Layout) -> None:
    if pragma(connection, "schema_version"):
        return _check(connection, path)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # cannot be set once there are tables
    connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute("BEGIN IMMEDIATE")
    for table in layout.tables:
        connection.execute(table)
    connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")
    return None


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if pragma(connection, "application_id") != _APPLICATION_ID:
        raise BrokerError(
            f"{path} is an SQLite file of another program", fix="name another folder with embedded:///path"
        )
    version = pragma(connection, "user_version")
    if version != VERSION:
        raise BrokerError(
            f"{path} has layout {version}, this Flows reads layout {VERSION}",
            fix="use the Flows that wrote it, or name another folder with embedded:///path",
        )


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Read one of SQLite's integer settings."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
