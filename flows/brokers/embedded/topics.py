"""The topics in broker.db: create, list, alter, delete."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from uuid import uuid4

from flows.brokers.base import TopicSpec
from flows.brokers.specs import check_alterable, compare
from flows.errors import BrokerError, UnknownTopic

_MOST_PARTITIONS = 10_000


def create(connection: sqlite3.Connection, spec: TopicSpec) -> None:
    """Create the topic unless it exists; raises `TopicMismatch` when it exists with other settings."""
    _check(spec)
    existing = listing(connection).get(spec.name)
    if existing is not None:
        return compare(existing, spec)
    connection.execute(
        "INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            spec.name,
            spec.partitions,
            spec.cleanup,
            spec.retention,
            spec.tombstone_retention,
            spec.internal,
            uuid4().hex,
        ),
    )
    connection.executemany(
        "INSERT INTO partitions (topic, number) VALUES (?, ?)",
        [(spec.name, number) for number in range(spec.partitions)],
    )
    return None


def listing(connection: sqlite3.Connection) -> dict[str, TopicSpec]:
    """Return all topics by name."""
    rows = connection.execute(
        "SELECT name, partitions, cleanup, retention, tombstone_retention, internal FROM topics ORDER BY name"
    )
    return {
        name: TopicSpec(
            name=name,
            partitions=partitions,
            cleanup=cleanup,
            retention=retention,
            tombstone_retention=tombstone_retention,
            internal=bool(internal),
        )
        for name, partitions, cleanup, retention, tombstone_retention, internal in rows
    }


def identities(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, str]:
    """Return the identities of the topics that exist: another one of the same name has another."""
    wanted = set(names)
    rows = connection.execute("SELECT name, identity FROM topics")
    return {name: identity for name, identity in rows if name in wanted}


def alter_retention(connection: sqlite3.Connection, name: str, seconds: float | None) -> None:
    """Keep a topic's records for so many seconds from now on; raises `UnknownTopic`, `BrokerError`."""
    check_alterable(name, listing(connection).get(name))
    connection.execute("UPDATE topics SET retention = ? WHERE name = ?", (seconds, name))


def delete(connection: sqlite3.Connection, name: str) -> list[int]:
    """Remove a topic and its groups' positions at once; return its partitions, whose batches are garbage now."""
    ids = [id_ for (id_,) in connection.execute("SELECT id FROM partitions WHERE topic = ?", (name,))]
    if not connection.execute("DELETE FROM topics WHERE name = ?", (name,)).rowcount:
        raise UnknownTopic(f"cannot delete topic {name!r}: it does not exist")
    connection.execute("DELETE FROM partitions WHERE topic = ?", (name,))
    rows = [(id_,) for id_ in ids]
    connection.executemany("DELETE FROM positions WHERE partition = ?", rows)
    connection.executemany("INSERT INTO garbage (partition) VALUES (?)", rows)
    return ids


def _check(spec: TopicSpec) -> None:
    if not spec.name:
        raise BrokerError("a topic needs a name")
    if not 1 <= spec.partitions <= _MOST_PARTITIONS:
        raise BrokerError(
            f"topic {spec.name!r}: {spec.partitions} partitions", fix=f"declare 1 to {_MOST_PARTITIONS:,}"
        )
    if spec.cleanup not in ("delete", "compact"):
        raise BrokerError(f"topic {spec.name!r}: cleanup {spec.cleanup!r}", fix="use 'delete' or 'compact'")
