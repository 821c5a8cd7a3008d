"""The nodes behind tables: what changes in one, and what is made of two."""

from __future__ import annotations

import msgspec

from dsl.plan.types import DataType, Schema
from dsl.window import AnyWindow


class TableJoinNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="table-join"):
    """A table made of two: the rows of equal keys, and windows, side by side.

    `right_columns` are the right side's columns with their names in the result. With `on`, a column of the left side,
    the right row is that of this key: `answers` is the step that brings these.
    """

    id: str
    left: str
    right: str
    table: str
    how: str
    keys: tuple[str, ...]
    key_types: tuple[DataType, ...]
    window: AnyWindow | None
    right_columns: tuple[tuple[str, str], ...]
    on: str = ""
    answers: str = ""
    schema: Schema


class AnswerNode(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """Answer the questions of another table's rows for the rows of this one, at once and whenever they change.

    `owner` is the table that is made of the answers.
    """

    id: str
    input: str
    table: str
    owner: str
    on: str
    schema: Schema


class ChangesNode(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="changes"):
    """The rows of a declared table that a commit changed, as a stream.

    With `removals` a column tells rows that were removed; with `retract` each change is the row that was, to be
    subtracted, and the row that is. With `each` all changes are told, not the last of a commit. `every` is the least
    stream time between two changes of a row, in microseconds. The rows that `asks` names a join for are its questions:
    what they refer to, their stored keys and their hashes.
    """

    id: str
    input: str
    table: str
    removals: bool = False
    retract: bool = False
    each: bool = False
    every: int | None = None
    asks: str = ""
    schema: Schema
