"""Tables that tell of their changes in the course of a commit: of each record's, or of those of each stretch of time.

Both put records through the table's own step in parts, so that what is told is a function of the records and their
order, wherever batches and commits end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import polars as pl

from flows.operate.base import WATERMARK, Batch
from flows.operate.changes import Heard, TableChanges
from flows.operate.held_back import HeldBack
from flows.operate.tables import Changed, KeyEncoder, Round, TableStep


class MergingStep(TableStep, Protocol):
    """A table's step that can bring what came into the state between commits."""

    def catch_up(self) -> None:
        """Bring all that came into the state, for one who reads it between commits."""


class Relay:
    """Where a step tells of changed rows: to whoever comes next."""

    def __init__(self, to: Changed) -> None:
        self.to = to

    def __call__(self, keys: list[bytes], states: Sequence[bytes | None]) -> None:
        self.to(keys, states)


class _Around:
    """A step around another one, which hears of the rows that the inner one changes."""

    def __init__(self, step: MergingStep, relay: Relay) -> None:
        self.step, self.table = step, step.table
        self._changed, relay.to = relay.to, self._hear
        self._rows: list[tuple[bytes, bytes | None]] = []

    def _hear(self, keys: list[bytes], states: Sequence[bytes | None]) -> None:
        self._rows += zip(keys, states, strict=True)

    def _pass_on(self) -> Round:
        """Tell on what was heard, of each row the last."""
        rows: Round = dict(self._rows)
        self._rows = []
        if rows:
            self._changed(list(rows), list(rows.values()))
        return rows

    @property
    def floor(self) -> int:
        """How far silence has moved time."""
        return self.step.floor

    @floor.setter
    def floor(self, time: int) -> None:
        self.step.floor = time

    @property
    def waiting(self) -> int:
        """The partial rows that wait for the commit."""
        return self.step.waiting

    def catch_up(self) -> None:
        """Bring all that came into the state."""
        self.step.catch_up()

    def flush(self, watermark: int) -> None:
        """Bring what waits into the state (step 2 of the commit)."""
        self.step.flush(watermark)
        self._pass_on()

    def would_close(self, watermark: int) -> bool:
        """Tell whether a stream time would close a window that is open now."""
        return self.step.would_close(watermark)

    def is_waiting(self) -> bool:
        """Tell whether any window waits for its end."""
        return self.step.is_waiting()

    def reached(self, watermark: int) -> int:
        """Return the stream time of the table's changes."""
        return self.step.reached(watermark)


class EachStep(_Around):
    """A table that tells what each record changes: `listeners` hear of it, in the order of the records.

    Records go through the step in rounds, each with at most one record of a key. `encoder` encodes keys without their
    windows, which take `window_bytes` before them.
    """

    def __init__(
        self, step: MergingStep, relay: Relay, keys: tuple[str, ...], encoder: KeyEncoder, window_bytes: int
    ) -> None:
        super().__init__(step, relay)
        self._keys, self._encoder, self._window_bytes = keys, encoder, window_bytes
        self.listeners: list[TableChanges] = []

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows, round by round."""
        names = self._encoder.encode_columns([frame[name].to_list() for name in self._keys])
        changes: list[tuple[int, bool, bytes, bytes | None]] = []
        for places in _rounds(names):
            self.step.process(frame[places], batch)
            self.step.catch_up()
            rows = {names[place]: place for place in places}
            changes += [(rows[k[self._window_bytes :]], state is not None, k, state) for k, state in self._rows]
            self._rows = []
        changes.sort(key=lambda change: change[:3])  # what a session was goes before what it is
        marks = frame[WATERMARK].to_list()
        heard: list[Heard] = [(key, state, marks[place]) for place, _, key, state in changes]
        for listener in self.listeners:
            listener.hear(heard)
        self._rows = [(key, state) for key, state, _ in heard]
        self._pass_on()

    @property
    def waiting(self) -> int:
        """The changes that wait for the commit."""
        return self.step.waiting + sum(listener.waiting for listener in self.listeners)


class StretchStep(_Around):
    """A table that says when a stretch of stream time is over, before it takes the first record of the next one."""

    def __init__(self, step: MergingStep, relay: Relay) -> None:
        super().__init__(step, relay)
        self.listeners: list[tuple[TableChanges, HeldBack]] = []

    def process(self, frame: pl.DataFrame, batch: Batch) -> None:
        """Sum up a batch's rows, stretch by stretch."""
        marks = frame[WATERMARK].to_numpy()
        turns = np.zeros(len(marks) - 1, np.bool_)
        for changes, held in self.listeners:
            held.begin(changes.time)
            turns |= np.diff(marks // held.every) > 0
        begins = [0, *(np.flatnonzero(turns) + 1).tolist(), len(marks)]
        for begin, end in pairwise(begins):
            self._turn(int(marks[begin]))
            self.step.process(frame[begin:end], batch)

    def flush(self, watermark: int) -> None:
        """Bring what waits into the state (step 2 of the commit)."""
        self.step.flush(watermark)
        self._note()

    def _turn(self, now: int) -> None:
        if any(held.turns_at(now) for _, held in self.listeners):
            self.step.catch_up()
            self._note()
            for _, held in self.listeners:
                held.turn(now)

    def _note(self) -> None:
        rows = self._pass_on()
        for changes, held in self.listeners:
            held.begin(changes.time)
            held.note(rows)


def _rounds(names: list[bytes]) -> list[list[int]]:
    """Return the places of names, those of a name in different rounds, in order."""
    seen: dict[bytes, int] = {}
    rounds: list[list[int]] = []
    for place, name in enumerate(names):
        number = seen[name] = seen.get(name, -1) + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(place)
    return rounds
