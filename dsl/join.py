"""The joins of streams, as methods of `Stream`; `dsl.joined` checks them and adds their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dsl.durations import Duration

if TYPE_CHECKING:
    from dsl.joined import Joined
    from dsl.stream import Stream

Names = str | tuple[str, ...]
"""One column, or several."""


class Joins:
    """What a stream can be joined with."""

    def join(
        self,
        other: Stream,
        on: Names | None = None,
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
    ) -> Joined:
        """Join with another stream: each pair of records of one key whose times differ by at most `within`.

        `before` and `after` say instead how much earlier or later the right record may be. `on` names the key on both
        sides (default: the key that both are partitioned by), `right_on` that of the right side where it has another
        name. A pair has the later of the two event times. With `how="left"` or `"outer"` a record that found no other
        comes alone, with nulls, once its window has closed: when the watermark has passed the last time at which its
        other half could be, by more than `grace`. A record that comes when its own window has closed is late (`.late`).
        Records with a null key match nothing: an inner join skips them, the others pass them on at once.

        The columns are those of the left side, then those of the right without its key. `prefix` and `suffix` rename
        columns of the right that have a namesake on the left. `name` names the join's state and topics (default: of
        the two sides); `partitions` is the number of those of its internal topics, where it needs them.
        Raises `DeclarationError`.
        """
        from dsl.joined import Sides, stream_join

        sides = Sides(cast("Stream", self), other, on, right_on, prefix, suffix, partitions, name)
        return stream_join(sides, how, within, before, after, grace)
