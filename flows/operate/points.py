"""Sliding windows from the event times of a key's records, its *points*: one for each set within the difference.

As a window of a fixed length slides along, its records change where one enters, at its end, and where one has left,
just behind its start. So windows begin at `time - difference` and at `time + 1 µs` of each record, where they hold any:
the windows of Kafka Streams' SlidingWindows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Points(NamedTuple):
    """Points of many keys, each once, in the order of key number and time."""

    groups: Ints
    times: Ints

    def joined(self, other: Points) -> Points:
        """Return the points of both."""
        groups, times = np.concatenate([self.groups, other.groups]), np.concatenate([self.times, other.times])
        return Points(*_once(groups, times))

    def within(self, windows: Windows, length: int) -> tuple[Ints, Ints]:
        """Return the range of points, as places, that each window holds; both its bounds are inclusive."""
        low = self._before(windows.groups, windows.starts, inclusive=False)
        return low, self._before(windows.groups, windows.starts + length, inclusive=True)

    def _before(self, groups: Ints, times: Ints, *, inclusive: bool) -> Ints:
        """Count the points, of all keys, that come before a key's time; with `inclusive` those at the time too."""
        count = len(self.times)
        kinds = np.concatenate([np.zeros(count, np.int64), np.full(len(times), 1 if inclusive else -1)])
        order = np.lexsort((kinds, np.concatenate([self.times, times]), np.concatenate([self.groups, groups])))
        found = np.empty(len(order), np.int64)
        found[order] = np.cumsum(order < count)
        return found[count:]


class Windows(NamedTuple):
    """Windows of many keys: key number and start."""

    groups: Ints
    starts: Ints

    def filtered(self, kept: npt.NDArray[np.bool_]) -> Windows:
        return Windows(self.groups[kept], self.starts[kept])


def changed_windows(fresh: Points, known: Points, difference: int, open_from: Ints) -> Windows:
    """Return the windows that hold a fresh point or begin because of one, and hold any.

    `open_from` is, by key number, the first start of a window that is open; windows before it do not change.
    """
    points = known.joined(fresh)
    mine = Windows(*_once(*_begins(fresh, difference)))
    found = Windows(*_once(*_begins(points, difference)))
    low, high = points.within(found, difference)
    new_low, new_high = fresh.within(found, difference)
    begun = _is_in(found, mine)
    return found.filtered((begun | (new_high > new_low)) & (high > low) & (found.starts >= open_from[found.groups]))


def pairs(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Return each range's place with each number that is in it."""
    lengths = high - low
    places = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(places)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return places, np.repeat(low, lengths) + within


def _begins(points: Points, difference: int) -> tuple[Ints, Ints]:
    starts = np.concatenate([points.times - difference, points.times + 1])
    return np.concatenate([points.groups, points.groups]), starts


def _once(groups: Ints, times: Ints) -> tuple[Ints, Ints]:
    order = np.lexsort((times, groups))
    groups, times = groups[order], times[order]
    kept = np.ones(len(times), np.bool_)
    kept[1:] = (groups[1:] != groups[:-1]) | (times[1:] != times[:-1])
    return groups[kept], times[kept]


def _is_in(found: Windows, among: Windows) -> npt.NDArray[np.bool_]:
    """Tell which windows are among others; both are sorted, each once."""
    held = Points(among.groups, among.starts)
    low, high = held.within(found, 0)
    return high > low
