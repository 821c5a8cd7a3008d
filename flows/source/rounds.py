"""Rounds: what a task takes of its inputs at once, and in which order that counts.

Each input's records are read and carried through its steps together; a record's turn tells its place among those of
all inputs. Where inputs meet, what is done goes by the turns, so that it is what taking record by record would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flows.brokers.base import Records, TopicPartition
from flows.operate.base import Times


class Part(NamedTuple):
    """An input's records in a round, with their turns, which ascend."""

    records: Records
    turns: Times

    def split(self, turn: int) -> tuple[Part | None, Part | None]:
        """Return what comes before a turn, and the rest as it is in a round that begins there."""
        count = int(np.searchsorted(self.turns, turn))
        if count == 0:
            return None, Part(self.records, self.turns - turn)
        head, rest = self.cut(count)
        return head, None if rest is None else Part(rest.records, rest.turns - turn)

    def cut(self, count: int) -> tuple[Part, Part | None]:
        """Return the first `count` records and the rest, both of the same round."""
        records, rest = self.records.split(count)
        return Part(records, self.turns[:count]), None if rest is None else Part(rest, self.turns[count:])


class InputRound:
    """Records of one or more inputs; their turns are the numbers from 0 on, each once."""

    __slots__ = ("count", "parts")

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.count = sum(len(part.turns) for part in parts)

    @classmethod
    def of(cls, records: Records) -> InputRound:
        """Return a round of one input."""
        return cls([Part(records, np.arange(len(records)))])

    def __len__(self) -> int:
        return self.count

    def split(self, turn: int) -> tuple[InputRound, InputRound | None]:
        """Return what comes before a turn, and the rest (None when nothing is left)."""
        if turn >= self.count:
            return self, None
        halves = [part.split(turn) for part in self.parts]
        head, rest = ([part for part in half if part is not None] for half in zip(*halves, strict=True))
        return InputRound(head), InputRound(rest)

    def runs(self) -> Iterator[InputRound]:
        """Yield the round in pieces that are of one input each."""
        inputs = np.empty(self.count, np.int64)
        for number, part in enumerate(self.parts):
            inputs[part.turns] = number
        rest: InputRound | None = self
        lengths = np.diff([0, *(np.flatnonzero(np.diff(inputs)) + 1).tolist(), self.count])
        for length in lengths.tolist():
            assert rest is not None
            run, rest = rest.split(length)
            yield run


def next_round(
    waiting: Mapping[TopicPartition, tuple[Records, Times]], ranks: Mapping[TopicPartition, int]
) -> tuple[InputRound, dict[TopicPartition, tuple[Records, Times]]]:
    """Return what can be taken until an input has no more records here, and what is left of the others.

    Of the inputs' next records the one with the smallest time goes first, of equal ones that of the lower rank.
    """
    # A record waits for those before it in its input: it goes as soon as the latest of them could.
    tps = list(waiting)
    keys = [np.maximum.accumulate(waiting[tp][1]) for tp in tps]
    bound = min(int(key[-1]) for key in keys)
    keys = [key[: int(np.searchsorted(key, bound, side="right"))] for key in keys]
    inputs = np.concatenate([np.full(len(key), place) for place, key in enumerate(keys)])
    order = np.lexsort((np.array([ranks[tp] for tp in tps])[inputs], np.concatenate(keys)))
    turns = np.empty(len(order), np.int64)
    turns[order] = np.arange(len(order))
    by_input = [turns[inputs == place] for place in range(len(tps))]
    whole = [own for tp, own in zip(tps, by_input, strict=True) if len(own) == len(waiting[tp][1])]
    end = min(int(own[-1]) for own in whole) + 1
    parts, left = [], {}
    for tp, own in zip(tps, by_input, strict=True):
        records, times = waiting[tp]
        count = int(np.searchsorted(own, end))
        taken, rest = records.split(count) if count else (None, records)
        if taken is not None:
            parts.append(Part(taken, own[:count]))
        if rest is not None:
            left[tp] = rest, times[count:]
    return InputRound(parts), left
