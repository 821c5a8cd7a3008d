"""What streams become as a whole: several merged into one, a sample of one, one without repetitions."""

from __future__ import annotations

from collections.abc import Iterable

from dsl.changes import refuse_changes
from dsl.checks import checked_keys, checked_name
from dsl.durations import Duration, microseconds
from dsl.errors import DeclarationError
from dsl.placing import place_of
from dsl.plan.nodes import DedupeNode, MergeNode, SampleNode
from dsl.plan.types import DataType, Field, Schema
from dsl.stream import Stream


def add_merge(stream: Stream, others: tuple[Stream, ...]) -> Stream:
    """Merge streams. Raises `DeclarationError` where they cannot be one."""
    what = f"{stream.step}.merge"
    streams = (stream, *others)
    if not others:
        raise DeclarationError(f"{what} needs another stream.")
    for other in others:
        if not isinstance(other, Stream):
            raise DeclarationError(f"{what} takes streams and topics, not {other!r}.")
        if other.app is not stream.app:
            raise DeclarationError(f"{what}: {other.step} belongs to app {other.app.id!r}, not to {stream.app.id!r}.")
        refuse_changes(other, what)
    refuse_changes(stream, what)
    twice = next((s.step for i, s in enumerate(streams) if s.step in [o.step for o in streams[:i]]), None)
    if twice is not None:
        raise DeclarationError(f"{what} has {twice} twice, so that each of its records would come twice.")
    step = stream.app._new_step(what)
    schema = _common_schema(what, streams)
    stream.app._add(MergeNode(id=step, inputs=tuple(s.step for s in streams), schema=schema))
    return Stream(stream.app, step, schema, _common_key(streams))


def _common_schema(what: str, streams: tuple[Stream, ...]) -> Schema | None:
    first = streams[0]
    if any((s.schema is None) != (first.schema is None) for s in streams):
        bare = next(s.step for s in streams if s.schema is None)
        raise DeclarationError(f"{what}: the values of {bare} are no Record, so it can be merged with its like only.")
    if first.schema is None:
        return None
    fields = {f.name: f.type for f in first.schema}
    for other in streams[1:]:
        assert other.schema is not None
        theirs = {f.name: f.type for f in other.schema}
        odd = sorted(fields.keys() ^ theirs.keys())
        if odd:
            lacks = first.step if odd[0] in theirs else other.step
            raise DeclarationError(
                f"{what}: {lacks} has no column {odd[0]!r}. Merged streams have the same columns: use select."
            )
        for name, type_ in theirs.items():
            if type_.kind is not fields[name].kind:
                raise DeclarationError(
                    f"{what}: column {name!r} is {fields[name].told} in {first.step}, {type_.told} in {other.step}."
                )
            fields[name] = DataType(type_.kind, type_.nullable or fields[name].nullable)
    return Schema(tuple(Field(name, type_) for name, type_ in fields.items()), first.schema.owner)


def _common_key(streams: tuple[Stream, ...]) -> str | None:
    keys, places = {s.key for s in streams}, {place_of(s.app, s.step) for s in streams}
    return keys.pop() if len(keys) == len(places) == 1 else None


def add_sample(stream: Stream, rate: float | None, every: int | None, by: str | Iterable[str]) -> Stream:
    """Add a sample. Raises `DeclarationError`."""
    what = f"{stream.step}.sample"
    if (rate is None) == (every is None):
        raise DeclarationError(f"{what} takes a share or a number: sample(0.01) or sample(every=100).")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1):
        raise DeclarationError(f"{what}: the share is a number above 0 and up to 1, not {rate!r}.")
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise DeclarationError(f"{what}: every is a positive integer, not {every!r}.")
    keys = (by,) if isinstance(by, str) else tuple(by)
    if keys:
        checked_keys(what, stream._columns("sample(by=…)"), keys)
    step = stream.app._new_step(what)
    stream.app._add(
        SampleNode(
            id=step,
            input=stream.step,
            rate=None if rate is None else float(rate),
            every=every,
            by=keys,
            schema=stream.schema,
        )
    )
    return Stream(stream.app, step, stream.schema, stream.key)


def add_dedupe(stream: Stream, by: tuple[str, ...], within: Duration, name: str | None) -> Stream:
    """Add a step that leaves out repetitions. Raises `DeclarationError`."""
    what, app = f"{stream.step}.dedupe", stream.app
    schema = stream._columns("dedupe(...)")
    types = checked_keys(what, schema, by)
    if not by:
        raise DeclarationError(f'{what} needs the columns that tell a repetition: dedupe("order_id", within="1h").')
    refuse_changes(stream, what)
    length = microseconds(within, f"{what}: within")
    if length <= 0:
        raise DeclarationError(f"{what}: within must be positive, not {within!r}.")
    if stream.key not in by:
        raise DeclarationError(
            f"{what}({', '.join(by)}) needs equal keys in one partition, but the records are partitioned by "
            f"{stream.key or 'no column that is known'}: send them through a topic whose key is one of these columns, "
            f'.through(app.topic(…, key="{by[0]}")).dedupe(…).'
        )
    step = app._new_step(what) if name is None else app._new_step(checked_name("dedupe", name), numbered=False)
    app._claim_table(step)
    node = DedupeNode(id=step, input=stream.step, table=step, keys=by, key_types=types, within=length, schema=schema)
    app._add(node)
    return Stream(app, step, schema, stream.key)
