"""Joins as declared: which columns meet, what they are called, and where the records of equal keys meet."""

from __future__ import annotations

from typing import NamedTuple

from dsl.changes import refuse_changes
from dsl.checks import check_one_of, checked_name, checked_partitions
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError, nearest
from dsl.join import Names
from dsl.placing import place_of
from dsl.plan.functions import unknown_column
from dsl.plan.nodes import JoinNode, RepartitionNode
from dsl.plan.types import DataType, Field, Kind, Schema
from dsl.stream import Stream
from dsl.topic import Topic

HOW = ("inner", "left", "outer")
_SIDES = ("left", "right")


class Joined(Stream):
    """Records made of those of two streams."""

    @property
    def late(self) -> Topic:
        """The topic of records of both sides that came when their window had closed, with why in the headers."""
        return self.app._late_topic(self.step)


class Sides(NamedTuple):
    """The two streams of a join, and what was said of them."""

    left: Stream
    right: Stream
    on: Names | None
    right_on: Names | None
    prefix: str
    suffix: str
    partitions: int | None
    name: str | None

    @property
    def doing(self) -> str:
        """The join as errors call it."""
        return f"{self.left.step}.join({getattr(self.right, 'step', self.right)})"


def stream_join(
    sides: Sides,
    how: str,
    within: Duration | None,
    before: Duration | None,
    after: Duration | None,
    grace: Duration,
) -> Joined:
    """Add a join of two streams in a window to the plan."""
    doing = sides.doing
    if not isinstance(sides.right, Stream):
        raise DeclarationError(f"{doing}: joins a stream, made by app.topic(...) or of one, not {sides.right!r}.")
    check_one_of(f"{doing}: how", how, HOW)
    if within is None and (before is None or after is None):
        raise DeclarationError(
            f'{doing} joins two streams, so it needs a window: say how far apart their times may be, within="5m".'
        )
    if within is not None and before is not None and after is not None:
        raise DeclarationError(f"{doing}: within= or before= and after=, not all three.")
    reach = [
        microseconds(0 if d is None else d, f"{doing}: {n}")
        for n, d in (("before", within if before is None else before), ("after", within if after is None else after))
    ]
    if min(reach) < 0 and reach[0] + reach[1] < 0:
        raise DeclarationError(f"{doing}: no time is in a window that ends before it begins.")
    return _add_join(sides, how, (reach[0], reach[1]), grace)


_DIRECTIONS = {"backward": "last", "forward": "first", "nearest": "nearest"}


def asof_join(sides: Sides, how: str, direction: str, tolerance: Duration, grace: Duration, emit: str) -> Joined:
    """Add a join of each left record with one right record to the plan."""
    doing = sides.doing.replace(".join(", ".join_asof(")
    if not isinstance(sides.right, Stream):
        raise DeclarationError(f"{doing}: joins a stream; a table is joined by join(table), as of each record.")
    check_one_of(f"{doing}: how", how, ("inner", "left"))
    check_one_of(f"{doing}: direction", direction, tuple(_DIRECTIONS))
    check_one_of(f"{doing}: emit", emit, ("now", "close"))
    if emit == "now" and direction != "backward":
        raise DeclarationError(
            f'{doing}: what comes later is not there at once: direction="{direction}" needs emit="close".'
        )
    reach = microseconds(tolerance, f"{doing}: tolerance")
    if reach < 0:
        raise DeclarationError(f"{doing}: tolerance cannot be negative.")
    window = 0 if direction == "forward" else reach, 0 if direction == "backward" else reach
    return _add_join(sides, how, window, grace, picks=_DIRECTIONS[direction], at_once=emit == "now")


def _add_join(
    sides: Sides, how: str, reach: tuple[int, int], grace: Duration, *, picks: str = "all", at_once: bool = False
) -> Joined:
    doing = sides.doing
    refuse_changes(sides.left, doing)
    refuse_changes(sides.right, doing)
    late_by = microseconds(grace, f"{doing}: grace")
    if late_by < 0:
        raise DeclarationError(f"{doing}: grace cannot be negative.")
    keys, right_keys, types = _keys(sides)
    fields, columns = _result(sides, keys, right_keys, how)
    name = _named(sides)
    left, right = _together(sides, name, keys, right_keys)
    app, schema = sides.left.app, Schema(fields, name)
    app._add(
        JoinNode(
            id=name,
            left=left,
            right=right,
            left_keys=keys,
            right_keys=right_keys,
            key_types=types,
            how=how,
            before=reach[0],
            after=reach[1],
            grace=late_by,
            picks=picks,
            at_once=at_once,
            right_columns=columns,
            schema=schema,
        )
    )
    return Joined(app, name, schema, keys[0] if len(keys) == 1 else None)


def _keys(sides: Sides) -> tuple[tuple[str, ...], tuple[str, ...], tuple[DataType, ...]]:
    """Return the key columns of both sides, checked, with their types in the result."""
    left, right, doing = sides.left, sides.right, sides.doing
    if left.app is not right.app:
        raise DeclarationError(f"{doing}: {right.step!r} belongs to app {right.app.id!r}, not to {left.app.id!r}.")
    schemas = left._columns(f"join({right.step})"), right._columns(f"join({left.step})")
    on = sides.on
    if on is None:
        if left.key is None or left.key != right.key:
            keyed = f"{left.step} is keyed by {left.key or 'nothing'}, {right.step} by {right.key or 'nothing'}"
            common = [n for n in schemas[0].names if n in schemas[1]]
            hint = f'on="{common[0]}"' if common else 'on="column", right_on="column"'
            raise DeclarationError(f"{doing} has no common key ({keyed}): name the columns that must be equal, {hint}.")
        on = left.key
    keys = (on,) if isinstance(on, str) else tuple(on)
    named = sides.right_on
    right_keys = keys if named is None else (named,) if isinstance(named, str) else tuple(named)
    if not keys or len(keys) != len(right_keys) or len(set(keys)) < len(keys):
        raise DeclarationError(f"{doing}: on={sides.on!r} and right_on={named!r} must name as many different columns.")
    types = []
    for key, other in zip(keys, right_keys, strict=True):
        found = _key_type(sides, schemas[0], key, 0), _key_type(sides, schemas[1], other, 1)
        if found[0].kind is not found[1].kind:
            raise DeclarationError(
                f"{doing}: {key!r} of {left.step} is {found[0].kind}, {other!r} of {right.step} is {found[1].kind}: "
                "make one of them the other's type first, with_columns(…=col(…).to_str())."
            )
        types.append(found[0].as_nullable(found[0].nullable or found[1].nullable))
    return keys, right_keys, tuple(types)


def _key_type(sides: Sides, schema: Schema, key: str, side: int) -> DataType:
    found = schema.get(key)
    if found is None:
        if side == 1 and sides.right_on is None and key in sides.left._columns("join"):
            raise DeclarationError(
                f"{sides.doing}: {sides.right.step} has no column {key!r}; its columns are {', '.join(schema.names)}. "
                f'Where it has another name there, write right_on="…".',
                suggestion=nearest(key, schema.names),
            )
        raise unknown_column(key, schema)
    if found.kind in (Kind.OTHER, Kind.DURATION):
        raise DeclarationError(f"{sides.doing}: the values of column {key!r} cannot be keys ({found.told}).")
    return found


def _result(
    sides: Sides, keys: tuple[str, ...], right_keys: tuple[str, ...], how: str
) -> tuple[tuple[Field, ...], tuple[tuple[str, str], ...]]:
    """Return the columns of the result, and the right side's with their new names."""
    left, right = sides.left._columns("join"), sides.right._columns("join")
    nullable = how == "outer", how in ("left", "outer")
    in_keys = dict(zip(keys, right_keys, strict=True))
    fields = [
        Field(f.name, f.type.as_nullable(f.type.nullable or (nullable[0] and _is_null_on_left(f.name, in_keys, right))))
        for f in left
    ]
    columns = []
    for field in right:
        if field.name in right_keys:
            continue
        name = f"{sides.prefix}{field.name}{sides.suffix}" if field.name in left else field.name
        if any(name == f.name for f in fields):
            raise DeclarationError(
                f"{sides.doing}: both sides have a column {field.name!r}"
                + (f", and {name!r} is taken too" if name != field.name else "")
                + f': rename the right one with suffix="_{short_name(sides.right.step)}", or leave it out (select).'
            )
        fields.append(Field(name, field.type.as_nullable(field.type.nullable or nullable[1])))
        columns.append((field.name, name))
    return tuple(fields), tuple(columns)


def _is_null_on_left(name: str, keys: dict[str, str], right: Schema) -> bool:
    """Tell whether a column of the left side can be null in a row that only the right side made."""
    if name not in keys:
        return True
    found = right.get(keys[name])
    return found is not None and found.nullable


def short_name(step: str) -> str:
    """Shorten a step's name to what can be a part of a column's."""
    return "".join(c if c.isalnum() else "_" for c in step.split(".")[0])


def _named(sides: Sides) -> str:
    app = sides.left.app
    name = checked_name("join", sides.name or f"{sides.left.step}.join.{sides.right.step}")
    if name in app._nodes or name in app._tables:
        what = f"the name {name!r} is taken" if sides.name else f"{name} is declared twice"
        raise DeclarationError(f'{sides.doing}: {what}; its state needs a name of its own: name="…".')
    return name


# Where the records of equal keys meet.


def _together(sides: Sides, name: str, keys: tuple[str, ...], right_keys: tuple[str, ...]) -> tuple[str, str]:
    """Return the steps to read, with the repartitions that bring equal keys into one task."""
    left, right, app = sides.left, sides.right, sides.left.app
    counts = [app._partitions_before(s.step) for s in (left, right)]
    if sides.partitions is not None:
        checked_partitions(sides.doing, sides.partitions)
    elif counts == [1, 1] or _share_partitions(left, right, keys, right_keys):
        return left.step, right.step
    places = [_known_place(s, k) for s, k in ((left, keys), (right, right_keys))]
    known = [(count, place) for count, place in zip(counts, places, strict=True) if place is not None]
    wanted, place = max(known, default=(max(counts), _CANONICAL), key=lambda found: found[0])
    if sides.partitions not in (None, wanted):
        wanted, place = sides.partitions or wanted, _CANONICAL
    steps = []
    for side, columns in ((0, keys), (1, right_keys)):
        stream = (left, right)[side]
        if places[side] == place and counts[side] == wanted:
            steps.append(stream.step)
            continue
        step = app._new_step(f"{name}.{_SIDES[side]}")
        app._add(
            RepartitionNode(
                id=step,
                input=stream.step,
                topic=f"{app.id}-{name}-{_SIDES[side]}-repartition",
                keys=columns,
                partitions=wanted,
                by_message_key=place != _CANONICAL,
                schema=stream._columns("join"),
            )
        )
        steps.append(step)
    return steps[0], steps[1]


_CANONICAL = ("key", "")


def _known_place(stream: Stream, keys: tuple[str, ...]) -> tuple[str, str] | None:
    """Return what chose the partitions of a stream that is partitioned by the key, where others can be sent to them."""
    place = place_of(stream.app, stream.step)
    known = place in (_CANONICAL, ("message key", "murmur2"))
    return place if known and keys == (stream.key,) else None


def _share_partitions(left: Stream, right: Stream, keys: tuple[str, ...], right_keys: tuple[str, ...]) -> bool:
    """Tell whether records of equal keys lie in partitions of one number already."""
    if left.key is None or right.key is None or (left.key, right.key) not in zip(keys, right_keys, strict=True):
        return False
    app = left.app
    same_count = app._partitions_before(left.step) == app._partitions_before(right.step)
    return same_count and place_of(app, left.step) == place_of(app, right.step)
