"""Lists of items, one list a group, flattened to one row an item and put together again; all groups at once.

A flat frame has the number of the group that each item belongs to, `$g`, and is sorted by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from flows.operate.aggregates.arrow import Ints, lists_over

GROUP = "$g"


def flatten(frame: pl.DataFrame, names: Sequence[str], groups: Ints | None = None) -> pl.DataFrame:
    """Take lists of equal lengths apart, under the same names; row i belongs to group `groups[i]` (default: i)."""
    owners = np.arange(frame.height) if groups is None else groups
    lengths = frame[names[0]].list.len().to_numpy()
    flat = [frame[name].explode(empty_as_null=False, keep_nulls=False) for name in names]
    return pl.DataFrame([pl.Series(GROUP, np.repeat(owners, lengths)), *flat])


def gathered(items: pl.DataFrame, names: Sequence[str], count: int) -> list[pl.Series]:
    """Put flat items, sorted by group, into lists: one for each of `count` groups, empty where there is no item."""
    lengths = np.bincount(items[GROUP].to_numpy(), minlength=count)
    return [lists_over(items[name], lengths) for name in names]


def places(items: pl.DataFrame) -> tuple[Ints, Ints]:
    """Return each item's place in its group, from 0, and the number of items in that group."""
    groups = items[GROUP].to_numpy()
    lengths = np.bincount(groups)
    starts = np.cumsum(lengths) - lengths
    return np.arange(len(groups)) - starts[groups], lengths[groups]
