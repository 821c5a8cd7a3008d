"""What agents' unfinished `take`s hold, kept in the task's state: committed with the offset, restored with the task."""

from __future__ import annotations

from typing import Any

import msgspec

from flows.brokers.base import Headers
from flows.compile.names import TAKEN
from flows.compile.pipeline import Pipeline
from flows.errors import IncompatibleState
from flows.operate.agent import AgentRunner
from flows.operate.agent_input import Event
from flows.run.inputs import Learn
from flows.state.task_state import TaskState

Raw = tuple[bytes | None, bytes | None, int]
"""Key, value and timestamp of a record, as they were."""

Row = tuple[str, int, int, float | None, Headers, Raw, Any]
"""Topic, partition, offset, timestamp, headers, the record as it was, and its value where that was computed of it."""

_encode = msgspec.msgpack.Encoder().encode


class TakenRows:
    """Keep the state's rows equal to what the agents hold.

    A row's key is a number, 8 bytes big-endian, larger for what was taken later: records of one origin may be several.
    """

    def __init__(self, pipeline: Pipeline, state: TaskState) -> None:
        self._pipeline, self._state = pipeline, state
        self._kept: dict[str, dict[int, tuple[int, Event]]] = {}

    async def restore(self, learn: Learn) -> None:
        """Hand the committed rows back to their agents, before they start."""
        for runner in self._pipeline.runners:
            table = runner.spec.step + TAKEN
            rows = list(self._state.scan(table))
            try:
                held = [_held(value, runner) for _, value in rows]
                for topic, (_, data, _) in ((row[0], row[5]) for row in held):
                    await learn(topic, [data])
                events = [_event(row, runner) for row in held]
                runner.restore_taken(events)
            except (msgspec.ValidationError, ValueError) as error:
                raise IncompatibleState(
                    f"agent {runner.spec.step!r} holds records that are no longer what its stream carries: {error}",
                    fix="give a new field a default, or rename the agent to drop what its take() held",
                ) from None
            numbers = [int.from_bytes(key, "big") for key, _ in rows]
            self._kept[table] = {id(event): (number, event) for number, event in zip(numbers, events, strict=True)}

    @property
    def stale(self) -> bool:
        """Tell whether an agent finished committed elements since: after its patience ended, without a record."""
        held = {r.spec.step + TAKEN: len(r.taken()) for r in self._pipeline.runners}
        return any(len(kept) > held[table] for table, kept in self._kept.items())

    def stage(self) -> None:
        """Stage what was taken or finished since the last commit (step 2 of the commit)."""
        for runner in self._pipeline.runners:
            table = runner.spec.step + TAKEN
            kept = self._kept.get(table, {})
            held = runner.taken()
            if not held and not kept:
                continue
            still = {id(event) for event in held}
            rows: dict[int, bytes | None] = {number: None for key, (number, _) in kept.items() if key not in still}
            after = max((number for number, _ in kept.values()), default=-1) + 1
            new = [event for event in held if id(event) not in kept]
            rows.update((after + place, _row(event, runner)) for place, event in enumerate(new))
            if rows:
                self._state.stage(table, [number.to_bytes(8, "big") for number in rows], list(rows.values()))
            left = {key: found for key, found in kept.items() if key in still}
            self._kept[table] = left | {id(event): (after + place, event) for place, event in enumerate(new)}


def _row(event: Event, runner: AgentRunner) -> bytes:
    """Encode an element: where it came from, its bytes there, and its value where that was computed of them."""
    value = None if runner.spec.decode is not None else event.value
    return _encode((event.topic, event.partition, event.offset, event.timestamp, event.headers, event.raw, value))


def _held(data: bytes, runner: AgentRunner) -> Row:
    spec = runner.spec
    # The shape is made at run time, of the class of the stream's values.
    computed = Any if spec.value_type is None or spec.decode is not None else spec.value_type | None
    shape: Any = tuple.__class_getitem__((str, int, int, float | None, Headers, Raw, computed))
    row: Row = msgspec.msgpack.decode(data, type=shape)
    return row


def _event(row: Row, runner: AgentRunner) -> Event:
    spec = runner.spec
    topic, partition, offset, timestamp, headers, raw, value = row
    if spec.decode is not None and raw[1] is not None:
        value = spec.decode(raw[1])
    return Event(
        value=value,
        key=runner.instances[0].input.key(value, raw[0]),
        timestamp=timestamp,
        headers=headers,
        topic=topic,
        partition=partition,
        offset=offset,
        raw=raw,
    )
