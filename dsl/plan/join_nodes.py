"""The nodes of a plan that bring two streams, or a stream and a table, together."""

from __future__ import annotations

import msgspec

from dsl.durations import show
from dsl.plan.types import DataType, Schema


class JoinNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="join"):
    """Join two streams in a window of time: a right record matches a left one from `before` before it to `after` after.

    `how` is "inner", "left" or "outer". `right_columns` are the right side's columns with their names in the result,
    which has those of the left side as they are. The keys of a row lie in `left_keys`. Times are microseconds.

    `picks` says which of the right records: "all", or one for each left record: the "last" at or before it, the "first"
    at or after it, or the "nearest" (of two equally near the earlier). With `at_once` it is looked for when the left
    record comes, else when no other can come any more.
    """

    id: str
    left: str
    right: str
    left_keys: tuple[str, ...]
    right_keys: tuple[str, ...]
    key_types: tuple[DataType, ...]
    how: str
    before: int
    after: int
    grace: int = 0
    picks: str = "all"
    at_once: bool = False
    right_columns: tuple[tuple[str, str], ...]
    schema: Schema

    @property
    def window(self) -> str:
        """The window in words, such as `within 5m` or `5m before, 0s after`."""
        same = self.before == self.after
        return f"within {show(self.after)}" if same else f"{show(self.before)} before to {show(self.after)} after"

    def keeps(self, side: int) -> bool:
        """Tell whether records of a side (0: left, 1: right) that match nothing are in the result."""
        return self.how == "outer" or (self.how == "left" and side == 0)


class TopicTableNode(msgspec.Struct, frozen=True, kw_only=True, tag="topic_table"):
    """A topic as a table: of each key the latest value; a null value removes the key.

    `history` is for how many microseconds of stream time older versions are kept, None where none are: then the latest
    is the last in the log, else the one of the largest event time.
    """

    id: str
    input: str
    table: str
    keys: tuple[str, ...]
    key_types: tuple[DataType, ...]
    history: int | None = None
    schema: Schema


class LookupNode(msgspec.Struct, frozen=True, kw_only=True, tag="lookup"):
    """Join each record of a stream with the row that a table has for its key. `how` is "inner" or "left"."""

    id: str
    left: str
    right: str
    left_keys: tuple[str, ...]
    how: str
    right_columns: tuple[tuple[str, str], ...]
    schema: Schema
