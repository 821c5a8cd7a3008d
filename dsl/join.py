"""The joins of streams, as methods of `Stream`; `dsl.joined` checks them and adds their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dsl.durations import Duration

if TYPE_CHECKING:
    from dsl.expr import Expr
    from dsl.global_table import GlobalTable
    from dsl.stream import Stream
    from dsl.table import Table

Names = str | tuple[str, ...]
"""One column, or several."""


class Joins:
    """What a stream can be joined with."""

    def join(
        self,
        other: Stream | Table | GlobalTable,
        on: Names | Expr | None = None,
        *,
        right_on: Names | None = None,
        how: str = "inner",
        within: Duration | None = None,
        before: Duration | None = None,
        after: Duration | None = None,
        grace: Duration = 0,
        prefix: str = "",
        suffix: str = "",
        partitions: int | None = None,
        name: str | None = None,
    ) -> Stream:
        """Join with another stream, with a table or with a global table.

        With a stream: each pair of records of one key whose times differ by at most `within`.

        `before` and `after` say instead how much earlier or later the right record may be. `on` names the key on both
        sides (default: the key that both are partitioned by), `right_on` that of the right side where it has another
        name. A pair has the later of the two event times. With `how="left"` or `"outer"` a record that found no other
        comes alone, with nulls, once its window has closed: when the watermark has passed the last time at which its
        other half could be, by more than `grace`. A record that comes when its own window has closed is late (`.late`).
        Records with a null key match nothing: an inner join skips them, the others pass them on at once.

        With a table, `topic.table(...)` or aggregates without windows: each record with the row of its key as the table
        is at its place in the order of time, or, where the table is versioned, as it was at its time. `how` is "inner"
        or "left"; no window is needed. The row's event time is that of the record.

        With a global table: each record with the row that `on` names, a column or any expression (default: the column
        of the key's name), as this worker has it when the record comes. `how` is "inner" or "left".

        The columns are those of the left side, then those of the right without its key. `prefix` and `suffix` rename
        columns of the right that have a namesake on the left. `name` names the join's state and topics (default: of
        the two sides); `partitions` is the number of those of its internal topics, where it needs them.
        Raises `DeclarationError`.

        >>> class Gate(flows.Record):
        ...     origin: str
        ...     gate: str
        ...     at: float = 0.0
        >>> gates = app.topic("gates", value=Gate, key="origin", timestamp="at")
        >>> known = departures.join(gates, within="10m", suffix="_gate")
        >>> now = departures.join(gates.table("gate_of"), how="left", suffix="_gate").select("carrier", "gate")
        >>> with app.test() as t:
        ...     t.send(departures, Departure("UA", "JFK", at=0.0))
        ...     t.send(gates, Gate("JFK", "B7", 300.0))
        ...     t.send(departures, Departure("DL", "JFK", at=400.0))
        ...     [(r.value["carrier"], r.value["gate"], r.timestamp) for r in t.output(known)]
        ...     [(r.value["carrier"], r.value["gate"]) for r in t.output(now)]
        [('UA', 'B7', 300.0), ('DL', 'B7', 400.0)]
        [('UA', None), ('DL', 'B7')]
        """
        from dsl.errors import DeclarationError
        from dsl.expr import Expr
        from dsl.global_table import GlobalTable, global_join
        from dsl.joined import Sides, stream_join
        from dsl.lookup import table_join
        from dsl.table import Table

        stream = cast("Stream", self)
        if isinstance(other, GlobalTable):
            options: dict[str, object] = {"within": within, "before": before, "after": after, "grace": grace or None}
            options |= {"right_on": right_on, "partitions": partitions}
            return global_join(stream, other, on, how, options, prefix, suffix, name)
        if isinstance(on, Expr):
            raise DeclarationError(
                f"{stream.step}.join: on={on!r} is an expression; only global tables are joined by these. Compute the "
                'column first: with_columns(key=…), then on="key".'
            )
        if isinstance(other, Table):
            window = {"within": within, "before": before, "after": after, "grace": grace or None, "right_on": right_on}
            return table_join(stream, other, on, how, window, prefix, suffix, partitions, name)
        sides = Sides(stream, other, on, right_on, prefix, suffix, partitions, name)
        return stream_join(sides, how, within, before, after, grace)

    def join_asof(
        self,
        other: Stream,
        on: Names | None = None,
        *,
        tolerance: Duration,
        right_on: Names | None = None,
        direction: str = "backward",
        how: str = "left",
        grace: Duration = 0,
        emit: str = "close",
        prefix: str = "",
        suffix: str = "",
        partitions: int | None = None,
        name: str | None = None,
    ) -> Stream:
        """Join each record with one record of another stream: the last of its key at or before its own time.

        It is at most `tolerance` older. With `direction="forward"` it is the first at or after the record's time, with
        `"nearest"` the nearest of both. Of records of one time the last by partition and offset counts.

        With `emit="close"`, the default, a record waits until the watermark has passed the last time at which the
        other could be, by more than `grace`: the result is the same however the records of both sides came to meet, as
        long as they are not late. With `emit="now"` (backward only) it is joined at once with what is there when it
        comes: a right record that comes after it is not seen. `how="inner"` leaves out what finds nothing. Names, keys
        and late records are as with `join`.

        >>> class Wind(flows.Record):
        ...     origin: str
        ...     knots: float
        ...     at: float
        >>> winds = app.topic("winds", value=Wind, key="origin", timestamp="at")
        >>> blown = departures.join_asof(winds, tolerance="30m", suffix="_wind", emit="now")
        >>> with app.test() as t:
        ...     for at in (0.0, 600.0):
        ...         t.send(winds, Wind("JFK", at / 100, at))
        ...     for at in (700.0, 7200.0):
        ...         t.send(departures, Departure("UA", "JFK", at=at))
        ...     [(r.value["at"], r.value["knots"]) for r in t.output(blown)]
        [(700.0, 6.0), (7200.0, None)]
        """
        from dsl.joined import Sides, asof_join

        sides = Sides(cast("Stream", self), other, on, right_on, prefix, suffix, partitions, name)
        return asof_join(sides, how, direction, tolerance, grace, emit)
