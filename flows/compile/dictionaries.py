"""Compiling the tables that agents write: their state in a task, their keys' bytes, and the end of their windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dsl.plan.nodes import TableNode, dues_id
from flows.compile.agents import build_closer
from flows.operate.dict_table import DictTableState
from flows.operate.expiring import Expiry
from flows.operate.grouped_table import SetTableState, WindowedSetState, WindowedTableState
from flows.operate.key_timers import DueTableState, KeyTimers
from flows.state.keys import KeyCodec, prefix_end

if TYPE_CHECKING:
    from flows.compile.task import TaskCompiler


class WindowedKeys:
    """The keys of a dictionary table with windows: (start in microseconds, key)."""

    def __init__(self, key_type: Any) -> None:
        self._codec = KeyCodec((key_type,), windowed=True)

    def encode(self, key: Any) -> bytes:
        start, rest = key
        return self._codec.encode(rest, start)

    def decode(self, data: bytes) -> Any:
        return self._codec.window(data), self._codec.decode(data)

    def range_of(self, group: int) -> tuple[bytes, bytes]:
        """Return the byte range of one window."""
        return self._codec.window_range(group, group + 1)


class WindowedSetKeys:
    """The keys of a set table with windows: ((start in microseconds, key), element)."""

    def __init__(self, key_type: Any, element_type: Any) -> None:
        self._codec = KeyCodec((key_type, element_type), windowed=True)

    def encode(self, key: Any) -> bytes:
        (start, rest), element = key
        return self._codec.encode((rest, element), start)

    def decode(self, data: bytes) -> Any:
        key, element = self._codec.decode(data)
        return (self._codec.window(data), key), element

    def range_of(self, group: Any) -> tuple[bytes, bytes | None]:
        """Return the byte range of one window, or of a key's elements in it."""
        if isinstance(group, int):
            return self._codec.window_range(group, group + 1)
        start, key = group
        prefix = self._codec.prefix(key, window=start)
        return prefix, prefix_end(prefix)


class SetKeys:
    """The keys of a set table: (key, element)."""

    def __init__(self, key_type: Any, element_type: Any) -> None:
        self._codec = KeyCodec((key_type, element_type))
        self.encode, self.decode = self._codec.encode, self._codec.decode

    def range_of(self, group: Any) -> tuple[bytes, bytes | None]:
        """Return the byte range of one key's elements."""
        prefix = self._codec.prefix(group)
        return prefix, prefix_end(prefix)


def build_dictionaries(compiler: TaskCompiler, node: TableNode) -> None:
    """Build a table's state in the task, with what lies beside it."""
    states = compiler.pipeline.dict_tables
    states[node.table] = _dictionary(compiler, node)
    if node.timer:
        key_type = compiler.plan.types[node.id].key_type
        dues = dues_id(node.table)
        states[dues] = DueTableState(
            dues, key_type, bool, None, codec=WindowedKeys(key_type), rows=compiler.context.state, changed=_unseen
        )
    if node.window is not None:
        compiler.windows[node.table] = node.window


def _unseen(keys: list[bytes], values: Sequence[bytes | None]) -> None:
    """Tell nobody: readers do not see the table."""


def _dictionary(compiler: TaskCompiler, node: TableNode) -> DictTableState:
    declared, pipeline = compiler.plan.types[node.id], compiler.pipeline

    def changed(keys: list[bytes], values: Sequence[bytes | None]) -> None:
        pipeline.changed(node.table, keys, values)

    def forgotten(keys: list[bytes], gone: Sequence[None]) -> None:
        pipeline.forgotten(node.table, keys, gone)

    parts: dict[str, Any] = {"rows": compiler.context.state, "changed": changed}
    if node.sets and node.window is not None:
        elements = WindowedSetKeys(declared.key_type, declared.value_type)
        types = declared.key_type, declared.value_type
        return WindowedSetState(node.table, *types, codec=elements, forgotten=forgotten, **parts)
    if node.sets:
        codec = SetKeys(declared.key_type, declared.value_type)
        return SetTableState(node.table, declared.key_type, declared.value_type, codec=codec, **parts)
    declaration = node.table, declared.key_type, declared.value_type, declared.default
    if node.window is None:
        return DictTableState(*declaration, codec=KeyCodec((declared.key_type,)), **parts)
    return WindowedTableState(
        *declaration,
        codec=WindowedKeys(declared.key_type),
        forgotten=forgotten,
        **parts,
    )


def build_expiry(compiler: TaskCompiler, node: TableNode) -> None:
    """Have a table's windows end, where they do."""
    state, pipeline = compiler.pipeline.dict_tables[node.table], compiler.pipeline
    if node.timer:
        pipeline.add_timers(node.timer, _key_timers(compiler, node, state))
    if node.window is None or node.window.retention is None:
        return
    assert isinstance(state, WindowedTableState)
    closer = build_closer(compiler, node) if node.on_close else None
    if closer is not None:
        pipeline.closers.append(closer)
    ranges = KeyCodec((object,), windowed=True).window_range
    pipeline.expiries.tables.append(Expiry(state, node.window, ranges, None if closer is None else closer.run))


def _key_timers(compiler: TaskCompiler, node: TableNode, state: DictTableState) -> KeyTimers:
    rows, dues = compiler.context.state, compiler.pipeline.dict_tables[dues_id(node.table)]
    assert isinstance(dues, DueTableState)
    codec = WindowedKeys(compiler.plan.types[node.id].key_type)
    closer = build_closer(compiler, node)
    compiler.pipeline.closers.append(closer)

    def first() -> tuple[int, Any] | None:
        found = next(iter(rows.scan(dues.name, uncommitted=True)), None)
        return None if found is None else codec.decode(found[0])

    return KeyTimers(state, dues, first, closer.run)
