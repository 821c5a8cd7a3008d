"""Naive forms of what streams become as a whole: merged, and without repetitions. Times are microseconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.oracle.tables import BEFORE, Sent


class Taken(NamedTuple):
    """A record of a merged stream: which input it came by, and the stream time as of it."""

    input: int
    sent: Sent
    now: int


def merged(segments: Iterable[Sequence[Sequence[Sent]]], inputs: int) -> list[Taken]:
    """Return what a task takes of its inputs, each segment being all that they have until it is taken.

    Of the inputs' next records that with the smallest time goes first, one without a time at once, of equal ones that
    of the first input. Stream time is the smallest of the inputs' largest times.
    """
    times, found = [BEFORE] * inputs, []
    for segment in segments:
        left = [list(records) for records in segment]
        while any(left):
            place = min((i for i in range(inputs) if left[i]), key=lambda i: (_time(left[i][0]), i))
            sent = left[place].pop(0)
            times[place] = max(times[place], _time(sent))
            found.append(Taken(place, sent, min(times)))
    return found


def _time(sent: Sent) -> int:
    return BEFORE if sent.time is None else sent.time


class Deduped(NamedTuple):
    """What comes out: places (partition, offset) of the records that are kept, and of those refused, with why."""

    kept: list[tuple[int, int]]
    refused: list[tuple[int, int, str]]


def deduped(history: Iterable[Sent], keys: Sequence[str], within: int) -> Deduped:
    """Keep a record unless one of its key was kept whose time is less than `within` from its own."""
    offsets: dict[int, int] = defaultdict(int)
    now: dict[int, int] = defaultdict(lambda: BEFORE)
    seen: dict[tuple[object, ...], list[int]] = defaultdict(list)
    found = Deduped([], [])
    for sent in history:
        offset = offsets[sent.partition]
        offsets[sent.partition] += 1
        now[sent.partition] = max(now[sent.partition], _time(sent))
        key = tuple(sent.fields[name] for name in keys)
        if None in key:
            found.refused.append((sent.partition, offset, f"null key {keys[key.index(None)]!r}"))
        elif sent.time is None:
            found.refused.append((sent.partition, offset, "no event time"))
        elif sent.time + within <= now[sent.partition]:
            found.refused.append((sent.partition, offset, "too late to tell"))
        elif all(abs(sent.time - other) >= within for other in seen[key]):
            seen[key].append(sent.time)
            found.kept.append((sent.partition, offset))
    return found
