"""What agents' unfinished `take`s hold, kept in the task's state: committed with the offset, restored with the task."""

from __future__ import annotations

from typing import Any

import msgspec

from flows.brokers.base import Headers
from flows.compile.names import TAKEN
from flows.compile.pipeline import Pipeline
from flows.errors import IncompatibleState
from flows.operate.agent_input import Event
from flows.state.task_state import TaskState

_encode = msgspec.msgpack.Encoder().encode


class TakenRows:
    """Keep the state's rows equal to what the agents hold. A row's key is the record's offset, 8 bytes big-endian."""

    def __init__(self, pipeline: Pipeline, state: TaskState) -> None:
        self._pipeline, self._state = pipeline, state
        self._kept: dict[str, set[int]] = {}

    def restore(self) -> None:
        """Hand the committed rows back to their agents, before they start."""
        for runner in self._pipeline.runners:
            table = runner.spec.step + TAKEN
            rows = list(self._state.scan(table))
            self._kept[table] = {int.from_bytes(key, "big") for key, _ in rows}
            try:
                runner.restore_taken([_decode(value, runner.spec.value_type) for _, value in rows])
            except msgspec.ValidationError as error:
                raise IncompatibleState(
                    f"agent {runner.spec.step!r} holds records that are no longer what its stream carries: {error}",
                    fix="give a new field a default, or rename the agent to drop what its take() held",
                ) from None

    @property
    def stale(self) -> bool:
        """Tell whether an agent finished committed elements since: after its patience ended, without a record."""
        held = {r.spec.step + TAKEN: len(r.taken()) for r in self._pipeline.runners}
        return any(len(kept) > held[table] for table, kept in self._kept.items())

    def stage(self) -> None:
        """Stage what was taken or finished since the last commit (step 2 of the commit)."""
        for runner in self._pipeline.runners:
            table = runner.spec.step + TAKEN
            held = {event.offset: event for event in runner.taken()}
            kept = self._kept.get(table, set())
            if not held and not kept:
                continue
            gone = sorted(kept - held.keys())
            new = [offset for offset in held if offset not in kept]
            keys = [offset.to_bytes(8, "big") for offset in (*gone, *new)]
            values: list[bytes | None] = [*([None] * len(gone)), *(_row(held[offset]) for offset in new)]
            if keys:
                self._state.stage(table, keys, values)
            self._kept[table] = set(held)


def _row(event: Event) -> bytes:
    return _encode(
        (event.value, event.key, event.timestamp, event.headers, event.topic, event.partition, event.offset, event.raw)
    )


def _decode(data: bytes, value_type: Any) -> Event:
    # The shape is made at run time, of the class of the stream's values.
    kept = (Any, float | None, Headers, str, int, int, tuple[bytes | None, bytes | None, int])
    shape: Any = tuple.__class_getitem__((Any if value_type is None else value_type, *kept))
    return Event(*msgspec.msgpack.decode(data, type=shape))
