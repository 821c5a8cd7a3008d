"""A task's state against plain dicts: any order of commits, aborts, flushes, failures, reads and crashes.

The model is what was committed and the changelog of it. A flush is stopped before or after its write reached the
store; a crash may come at any of these points and is followed by a replay from the stored positions.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flows.errors import StateError
from flows.state.base import Store, StoreSnapshot, StoreWrite
from flows.state.memory import MemoryStore
from flows.state.rocks import RocksStore
from flows.state.task_state import TaskState
from tests.contracts.store_fixtures import RESOURCES
from tests.drawn import drawn

TABLES = ["t", "u"]
ALL_KEYS = [bytes([a, b]) for a in range(4) for b in range(4)]
KEYS = st.sampled_from(ALL_KEYS)
ROWS = st.dictionaries(KEYS, st.none() | st.binary(max_size=2), min_size=1, max_size=12)
RANGES = st.lists(st.tuples(KEYS, KEYS).map(sorted), max_size=1)
Tables = dict[str, dict[bytes, bytes]]


class Gate:
    """Stops the writes of a store: `before` or `after` they are applied, until `open` is called."""

    def __init__(self, store: Store) -> None:
        self._write = store.write
        self.stop = ""
        self.reached, self._go = threading.Event(), threading.Event()
        self.fail = False

    def write(self, change: StoreWrite) -> None:
        stop, self.stop = self.stop, ""
        if stop == "before":
            self._wait()
        if self.fail:
            raise StateError("no room to write the state folder")
        self._write(change)
        if stop == "after":
            self._wait()

    def open(self) -> None:
        self._go.set()

    def _wait(self) -> None:
        self.reached.set()
        assert self._go.wait(20)
        self._go.clear()
        self.reached.clear()


def changed(rows: Mapping[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    merged: dict[bytes, bytes | None] = {**rows, **changes}
    return {key: value for key, value in merged.items() if value is not None}


class TaskStateMachine(RuleBasedStateMachine):
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.committed: Tables = {table: {} for table in TABLES}
        self.staged: Tables = {table: {} for table in TABLES}
        self.changelog: dict[str, list[tuple[bytes, bytes | None]]] = {table: [] for table in TABLES}
        self.flushing: asyncio.Task[None] | None = None
        self.views: list[tuple[StoreSnapshot, Tables]] = []

    def open_store(self) -> Store:
        return MemoryStore()

    def reopen_store(self) -> Store:
        return self.store

    @initialize()
    def start(self) -> None:
        self.store = self.open_store()
        for table in TABLES:
            self.store.create_table(table)
        self.guard()

    def guard(self) -> None:
        self.gate = Gate(self.store)
        self.store.write = self.gate.write  # type: ignore[method-assign]
        self.state = TaskState(self.store, max_entries=40)

    # One commit

    @rule(table=st.sampled_from(TABLES), before=ROWS, ranges=RANGES, after=ROWS)
    def commit(
        self,
        table: str,
        before: dict[bytes, bytes | None],
        ranges: list[list[bytes]],
        after: dict[bytes, bytes | None],
    ) -> None:
        self.stage(table, before)
        for start, end in ranges:
            self.drop_range(table, start, end, told=False)
            self.stage(table, after)
        self.promote()

    @rule(table=st.sampled_from(TABLES), rows=ROWS)
    def stage(self, table: str, rows: dict[bytes, bytes | None]) -> None:
        self.state.stage(table, list(rows), list(rows.values()))
        self.staged[table] = changed(self.staged[table], rows)

    @rule(table=st.sampled_from(TABLES), start=KEYS, end=KEYS, told=st.booleans())
    def drop_range(self, table: str, start: bytes, end: bytes, told: bool) -> None:
        inside = [key for key in sorted(self.committed[table]) if start <= key < end]
        gone = self.state.stage_range_delete(table, start, end, keys=inside if told else None)
        assert gone == inside
        self.staged[table] = {k: v for k, v in self.staged[table].items() if not start <= k < end}

    @rule()
    def promote(self) -> None:
        for table in TABLES:
            changes = self.state.staged(table)
            assert changed(self.committed[table], changes) == self.staged[table]
            self.changelog[table] += changes.items()
            self.committed[table] = dict(self.staged[table])
        self.state.promote({table: len(self.changelog[table]) for table in TABLES})

    @rule()
    def discard(self) -> None:
        self.state.discard()
        self.staged = {table: dict(rows) for table, rows in self.committed.items()}

    # Flushes

    @precondition(lambda self: self.flushing is None)
    @rule(stop=st.sampled_from(["before", "after"]))
    def begin_flush(self, stop: str) -> None:
        self.gate.stop = stop
        task = self.loop.create_task(self.state.flush())
        while not (task.done() or self.gate.reached.is_set()):
            self.loop.run_until_complete(asyncio.sleep(0))
        if task.done():
            task.result()
            self.gate.stop = ""
        else:
            self.flushing = task

    @precondition(lambda self: self.flushing is not None)
    @rule()
    def end_flush(self) -> None:
        assert self.flushing is not None
        self.gate.open()
        self.loop.run_until_complete(self.flushing)
        self.flushing = None

    @precondition(lambda self: self.flushing is None)
    @rule()
    def fail_flush(self) -> None:
        self.gate.fail = True
        try:
            self.loop.run_until_complete(self.state.flush())
        except StateError:
            assert self.state.needs_flush(0.0)
        self.gate.fail = False

    @precondition(lambda self: self.flushing is None)
    @rule()
    def whole_flush(self) -> None:
        self.loop.run_until_complete(self.state.flush())
        assert not self.state.needs_flush(0.0)
        assert {table: dict(self.store.scan(table)) for table in TABLES} == self.committed

    # Crashes

    @rule(applied=st.booleans())
    def crash(self, applied: bool) -> None:
        """Forget everything but the store and the changelog; a write under way arrives or does not."""
        if self.flushing is not None:
            self.gate.fail = not applied
            self.gate.open()
            self.loop.run_until_complete(asyncio.wait([self.flushing]))
            self.flushing.exception()
            self.flushing = None
        for view, _ in self.views:
            view.close()
        self.views.clear()
        del self.store.write
        self.store = self.reopen_store()
        self.guard()
        positions = self.store.positions()
        for table in TABLES:
            tail = self.changelog[table][positions.get(table, 0) :]
            self.state.stage(table, [key for key, _ in tail], [value for _, value in tail])
        self.state.promote({table: len(self.changelog[table]) for table in TABLES})
        self.staged = {table: dict(rows) for table, rows in self.committed.items()}

    # Reading

    @rule(
        table=st.sampled_from(TABLES),
        start=KEYS | st.just(b""),
        end=KEYS | st.none(),
        reverse=st.booleans(),
        uncommitted=st.booleans(),
    )
    def scan(self, table: str, start: bytes, end: bytes | None, reverse: bool, uncommitted: bool) -> None:
        rows = (self.staged if uncommitted else self.committed)[table]
        inside = (row for row in rows.items() if start <= row[0] and (end is None or row[0] < end))
        found = self.state.scan(table, start, end, reverse=reverse, uncommitted=uncommitted)
        assert list(found) == sorted(inside, reverse=reverse)

    @precondition(lambda self: len(self.views) < 3)
    @rule()
    def look(self) -> None:
        self.views.append((self.state.snapshot(), {table: dict(self.committed[table]) for table in TABLES}))

    @precondition(lambda self: self.views)
    @rule()
    def look_away(self) -> None:
        view, _ = self.views.pop(0)
        view.close()

    @invariant()
    def views_stay_as_they_were(self) -> None:
        for view, expected in self.views:
            for table, rows in expected.items():
                assert list(view.scan(table)) == sorted(rows.items())
                assert view.get_many(table, ALL_KEYS) == [rows.get(key) for key in ALL_KEYS]

    @invariant()
    def reading_agrees_with_the_model(self) -> None:
        if hasattr(self, "state"):
            for uncommitted, model in [(False, self.committed), (True, self.staged)]:
                for table, rows in model.items():
                    found = self.state.get_many(table, ALL_KEYS, uncommitted=uncommitted)
                    assert found == [rows.get(key) for key in ALL_KEYS]
                    if uncommitted:
                        assert found == [self.state.get_uncommitted(table, key) for key in ALL_KEYS]
                    for reverse in (False, True):
                        scan = self.state.scan(table, reverse=reverse, uncommitted=uncommitted)
                        assert list(scan) == sorted(rows.items(), reverse=reverse)

    @invariant()
    def positions_are_the_changelogs_ends(self) -> None:
        if hasattr(self, "state"):
            assert all(self.state.positions().get(table, 0) == len(self.changelog[table]) for table in TABLES)

    @invariant()
    def the_store_holds_a_prefix_of_the_changelog(self) -> None:
        if hasattr(self, "store") and self.flushing is None:
            for table in TABLES:
                prefix = self.changelog[table][: self.store.positions().get(table, 0)]
                assert dict(self.store.scan(table)) == changed({}, dict(prefix))

    def teardown(self) -> None:
        if self.flushing is not None:
            self.end_flush()
        if hasattr(self, "store"):
            self.loop.run_until_complete(self.state.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class RocksTaskStateMachine(TaskStateMachine):
    def open_store(self) -> Store:
        self.folder = Path(tempfile.mkdtemp(prefix="flows-state-"))
        return RocksStore(self.folder, RESOURCES)

    def reopen_store(self) -> Store:
        self.store.close()
        return RocksStore(self.folder, RESOURCES)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


def _test_case(machine: type[RuleBasedStateMachine], examples: int) -> Any:
    case = machine.TestCase
    case.settings = drawn(examples, stateful_step_count=30)
    return case


TestTaskStateOverMemory = _test_case(TaskStateMachine, 100)
TestTaskStateOverRocks = _test_case(RocksTaskStateMachine, 15)
