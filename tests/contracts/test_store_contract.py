"""What every store must do, run on each of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.errors import StateError
from flows.state.base import Store, StoreWrite
from tests.contracts.store_fixtures import KINDS, MakeStore, open_stores

ABC: dict[bytes, bytes | None] = {b"a": b"1", b"b": b"2", b"c": b"3"}


@pytest.fixture(params=KINDS)
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    yield from open_stores(request.param, tmp_path)


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    made = make_store()
    made.create_table("t")
    return made


def put(store: Store, rows: dict[bytes, bytes | None], table: str = "t", position: int | None = None) -> None:
    positions = {} if position is None else {table: position}
    store.write(StoreWrite(puts={table: rows}, positions=positions))


def test_values_come_in_the_order_of_the_keys(store: Store) -> None:
    put(store, ABC)
    assert store.get_many("t", [b"c", b"x", b"a", b"c"]) == [b"3", None, b"1", b"3"]
    assert store.get_many("t", []) == []


def test_an_empty_value_is_not_a_missing_one(store: Store) -> None:
    put(store, {b"k": b"", b"": b"the empty key"})
    assert store.get_many("t", [b"k", b""]) == [b"", b"the empty key"]


def test_none_deletes(store: Store) -> None:
    put(store, ABC)
    put(store, {b"b": None, b"never there": None})
    assert list(store.scan("t")) == [(b"a", b"1"), (b"c", b"3")]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (b"", None, b"abc"),
        (b"b", None, b"bc"),
        (b"", b"b", b"a"),
        (b"a", b"c", b"ab"),
        (b"a\x00", b"c\x00", b"bc"),
        (b"b", b"b", b""),
        (b"c", b"a", b""),
        (b"x", None, b""),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_half_open_and_ordered(
    store: Store, start: bytes, end: bytes | None, expected: bytes, reverse: bool
) -> None:
    put(store, dict(reversed(ABC.items())))
    keys = b"".join(key for key, _ in store.scan("t", start, end, reverse=reverse))
    assert keys == (expected[::-1] if reverse else expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_scan_agrees_with_a_sorted_list(store: Store, reverse: bool) -> None:
    draw = random.Random(7)
    rows: dict[bytes, bytes | None] = {draw.randbytes(draw.randrange(1, 9)): draw.randbytes(5) for _ in range(12_000)}
    put(store, rows)
    start, end = sorted(rows)[500], sorted(rows)[-500]
    expected = sorted((row for row in rows.items() if start <= row[0] < end), reverse=reverse)
    assert list(store.scan("t", start, end, reverse=reverse)) == expected


def test_a_scan_sees_the_moment_of_its_call(store: Store) -> None:
    put(store, {i.to_bytes(2, "big"): b"old" for i in range(500)})
    forwards, backwards = store.scan("t"), store.scan("t", reverse=True)
    assert next(forwards) == (b"\x00\x00", b"old")
    store.write(StoreWrite(ranges={"t": [(b"", b"\x01")]}, puts={"t": {b"\x01\x00": b"new"}}))
    assert [value for _, value in forwards] == [b"old"] * 499
    assert [value for _, value in backwards] == [b"old"] * 500


def test_ranges_apply_before_puts(store: Store) -> None:
    put(store, ABC)
    store.write(StoreWrite(ranges={"t": [(b"a", b"c")]}, puts={"t": {b"b": b"kept"}}))
    assert list(store.scan("t")) == [(b"b", b"kept"), (b"c", b"3")]


def test_an_empty_or_inverted_range_deletes_nothing(store: Store) -> None:
    put(store, ABC)
    store.write(StoreWrite(ranges={"t": [(b"b", b"b"), (b"c", b"a")]}))
    assert dict(store.scan("t")) == ABC


def test_positions_come_with_the_rows_and_survive_reopening(make_store: MakeStore) -> None:
    store = make_store()
    for table in ("t", "u"):
        store.create_table(table)
    assert dict(store.positions()) == {}
    store.write(StoreWrite(puts={"t": ABC, "u": {b"x": b"y"}}, positions={"t": 7, "u": 2**40}))
    store.write(StoreWrite(positions={"t": 9}))
    store.flush()
    store.close()
    again = make_store()
    assert dict(again.positions()) == {"t": 9, "u": 2**40}
    assert again.tables() == {"t", "u"}
    assert dict(again.scan("t")) == ABC
    assert again.get_many("u", [b"x"]) == [b"y"]


@pytest.mark.parametrize("name", ["a/b", "ü ✈", 'say "x"\n[]#', "..", "", "%41", "default", "t:p", "x" * 200])
def test_table_names_may_hold_anything(make_store: MakeStore, name: str) -> None:
    store = make_store()
    store.create_table(name)
    store.create_table("A")
    put(store, ABC, name, position=3)
    store.set_metadata([(name, b"fingerprint")])
    store.close()
    again = make_store()
    assert again.tables() == {name, "A"}
    assert dict(again.scan(name)) == ABC
    assert dict(again.scan("A")) == {}
    assert dict(again.positions()) == {name: 3}
    assert again.metadata(name) == b"fingerprint"


def test_creating_a_table_again_keeps_its_rows(store: Store) -> None:
    put(store, ABC)
    store.create_table("t")
    assert dict(store.scan("t")) == ABC


def test_a_dropped_table_leaves_nothing(store: Store) -> None:
    store.create_table("other")
    put(store, ABC, position=5)
    put(store, ABC, "other", position=6)
    store.set_metadata([("t", b"m")])
    store.set_changelog_ids([("t", "1"), ("other", "2")])
    store.drop_table("t")
    store.drop_table("never there")
    assert store.tables() == {"other"}
    assert dict(store.positions()) == {"other": 6}
    assert store.metadata("t") is None
    assert (store.changelog_id("t"), store.changelog_id("other")) == (None, "2")
    store.create_table("t")
    assert list(store.scan("t")) == []
    assert dict(store.scan("other")) == ABC


def test_metadata_is_kept_per_table(make_store: MakeStore) -> None:
    store = make_store()
    for table in ("t", "u"):
        store.create_table(table)
    store.set_metadata([("t", b"1"), ("u", b"")])
    store.set_metadata([("t", b"2")])
    store.set_changelog_ids([("t", "1"), ("u", "1")])
    store.set_changelog_ids([("t", "2")])
    store.close()
    again = make_store()
    assert [again.metadata(table) for table in ("t", "u", "v")] == [b"2", b"", None]
    assert [again.changelog_id(table) for table in ("t", "u", "v")] == ["2", "1", None]


def test_a_snapshot_sees_all_tables_at_one_moment(store: Store) -> None:
    store.create_table("u")
    put(store, ABC)
    snapshot = store.snapshot()
    store.write(StoreWrite(ranges={"t": [(b"a", b"c")]}, puts={"t": {b"d": b"4"}, "u": {b"x": b"y"}}))
    assert list(snapshot.scan("t")) == sorted(ABC.items())
    assert list(snapshot.scan("t", b"a", b"c", reverse=True)) == [(b"b", b"2"), (b"a", b"1")]
    assert snapshot.get_many("t", [b"d", b"a", b"x"]) == [None, b"1", None]
    assert list(snapshot.scan("u")) == []
    snapshot.close()
    assert list(store.scan("t")) == [(b"c", b"3"), (b"d", b"4")]


def test_snapshots_are_whole_while_another_thread_writes(store: Store) -> None:
    """Each write sets a key of every table to one number; a snapshot must never see two numbers."""
    tables = [f"t{i}" for i in range(12)]
    for table in tables:
        store.create_table(table)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            rows: dict[bytes, bytes | None] = {b"k": number.to_bytes(8, "big")}
            store.write(StoreWrite(puts=dict.fromkeys(tables, rows), positions={"t0": number}))

    writer = threading.Thread(target=write)
    writer.start()
    mixed = []
    try:
        for _ in range(300):
            snapshot = store.snapshot()
            seen = {value for table in tables for value in snapshot.get_many(table, [b"k"])}
            scanned = {value for table in tables for _, value in snapshot.scan(table)}
            if len(seen) != 1 or scanned != seen - {None}:
                mixed.append((seen, scanned))
            snapshot.close()
    finally:
        stop.set()
        writer.join()
    assert mixed == []
    assert store.positions()["t0"] > 0


def test_a_snapshot_is_read_in_several_threads_at_once(store: Store) -> None:
    rows: dict[bytes, bytes | None] = {i.to_bytes(4, "big"): b"v" for i in range(20_000)}
    put(store, rows)
    snapshot = store.snapshot()
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(sum(1 for _ in snapshot.scan("t")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    put(store, {b"more": b"rows"})
    for thread in threads:
        thread.join()
    assert counts == [20_000] * 4


def test_an_unknown_table_is_named(store: Store) -> None:
    uses: list[Callable[[], object]] = [
        lambda: store.get_many("nope", [b"k"]),
        lambda: store.scan("nope"),
        lambda: put(store, ABC, "nope"),
        lambda: store.snapshot().scan("nope"),
        lambda: store.set_metadata([("nope", b"m")]),
    ]
    for use in uses:
        with pytest.raises(StateError, match=r"no table 'nope' \(it has: t\)"):
            use()


def test_a_refused_write_changes_nothing(store: Store) -> None:
    put(store, ABC, position=1)
    with pytest.raises(StateError, match="no table 'nope'"):
        store.write(StoreWrite(puts={"t": {b"a": b"changed"}, "nope": {b"a": b"1"}}, positions={"t": 2}))
    assert dict(store.scan("t")) == ABC
    assert dict(store.positions()) == {"t": 1}


def test_the_size_grows_with_the_rows(store: Store) -> None:
    before = store.size()
    put(store, {i.to_bytes(4, "big"): random.Random(i).randbytes(100) for i in range(20_000)})
    assert store.size() > before + 1_000_000
