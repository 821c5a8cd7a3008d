"""What rooms that write to topics share with this one: partitions that a person's rule chooses, checked."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from flows.errors import Unroutable


def chosen_partition(what: str, partitions: int, function: Callable[[Any, int], int], of: Any) -> int:
    """Ask a person's function for a partition. Raises `Unroutable` where it fails or names none."""
    try:
        found = function(of, partitions)
    except Exception as error:
        raise Unroutable(f"{what} raised {type(error).__name__}: {error}") from error
    return checked_partition(what, partitions, found)


def checked_partition(what: str, partitions: int, found: Any) -> int:
    """Return a partition that exists. Raises `Unroutable` for anything else."""
    try:
        partition = -1 if isinstance(found, bool) else operator.index(found)
    except TypeError:
        partition = -1
    if not 0 <= partition < partitions:
        raise Unroutable(f"{what} gave {found!r}, expected a partition: 0 to {partitions - 1}")
    return partition
