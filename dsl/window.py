"""Windows: how a group's records are cut by their event time, or by their number."""

from __future__ import annotations

from typing import Any

import msgspec

from dsl.calendar import LONGEST, SHORT, calendar_period, check_zone, in_one_unit
from dsl.durations import Duration, microseconds, show
from dsl.errors import DeclarationError, nearest


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What all kinds of windows have; all times in microseconds.

    A record is late for a window once end + `grace` ≤ watermark. `emit` says when readers see a row; `retention` is
    how long after its end a window is kept; None keeps it for ever. `time` is "event", or "processing": the wall
    clock's when a task takes the record, for which none is late.
    """

    grace: int = 0
    emit: str = "change"
    retention: int | None = None
    time: str = "event"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table shows of its windows: bounds in seconds since the epoch."""
        return ("window_start", "window_end")

    @property
    def shape(self) -> str:
        """How time is cut, without what happens then: `hopping(24h, 6h)`."""
        raise NotImplementedError

    @property
    def _by(self) -> str:
        """What its shape says of the time it goes by."""
        return "" if self.time == "event" else f", time={self.time}"

    def __str__(self) -> str:
        keep = "" if self.retention is None else f", retention={show(self.retention)}"
        grace = f", grace={show(self.grace)}" if self.time == "event" else ""
        return f"{self.shape[:-1]}{grace}, emit={self.emit}{keep})"


class FixedWindow(Window, frozen=True, kw_only=True, tag="fixed"):
    """A window `[start, end)` of one length. Starts are `offset` after a multiple of `step` since the epoch.

    A tumbling window has `step == size`.
    """

    size: int
    step: int
    offset: int = 0

    @property
    def is_tumbling(self) -> bool:
        return self.step == self.size

    def starts(self, time: int) -> list[int]:
        """Return the starts of the windows that hold an event time, ascending."""
        first = ((time - self.offset - self.size) // self.step + 1) * self.step + self.offset
        return list(range(first, time + 1, self.step))

    @property
    def shape(self) -> str:
        offset = f", offset={show(self.offset)}" if self.offset else ""
        cut = f"tumbling({show(self.size)}" if self.is_tumbling else f"hopping({show(self.size)}, {show(self.step)}"
        return f"{cut}{offset}{self._by})"


class CalendarWindow(Window, frozen=True, kw_only=True, tag="calendar"):
    """A window `[start, end)` of whole days or months of a time zone, which differ in length.

    `size` and `step` count `unit`s: "day", "week" (from Monday) or "month". A window begins `offset` after the first
    midnight of its period, by the clocks there.
    """

    unit: str
    size: int
    step: int
    tz: str
    offset: int = 0

    @property
    def is_tumbling(self) -> bool:
        return self.step == self.size

    @property
    def shape(self) -> str:
        letter = SHORT[self.unit]
        step = "" if self.is_tumbling else f", {self.step}{letter}"
        offset = f", offset={show(self.offset)}" if self.offset else ""
        kind = "tumbling" if self.is_tumbling else "hopping"
        return f"{kind}({self.size}{letter}{step}, tz={self.tz}{offset}{self._by})"


class SessionWindow(Window, frozen=True, kw_only=True, tag="session"):
    """All records of a key with at most `gap` between one and the next: a window `[first, last]`.

    It is closed once last + `gap` + `grace` < watermark, and kept for `retention` from last + `gap` on.
    """

    gap: int

    @property
    def shape(self) -> str:
        return f"session({show(self.gap)}{self._by})"


class SlidingWindow(Window, frozen=True, kw_only=True, tag="sliding"):
    """A window `[end - difference, end]` for each set of a key's records that are at most `difference` apart.

    It is closed once end + `grace` < watermark.
    """

    difference: int

    @property
    def shape(self) -> str:
        return f"sliding({show(self.difference)})"


class CountWindow(Window, frozen=True, kw_only=True, tag="count"):
    """Each `records` records of a key, in the order in which they come; `grace` is 0, as none is late.

    `emit="close"` shows a window once it is complete; `retention` counts from its largest event time.
    """

    records: int

    @property
    def shape(self) -> str:
        return f"count_window({self.records})"

    @property
    def columns(self) -> tuple[str, ...]:
        return (*super().columns, "window_number")

    def __str__(self) -> str:
        keep = "" if self.retention is None else f", retention={show(self.retention)}"
        return f"{self.shape[:-1]}, emit={self.emit}{keep})"


AnyWindow = FixedWindow | CalendarWindow | SessionWindow | SlidingWindow | CountWindow


def tumbling(
    size: Duration | None = None,
    *,
    tz: str | None = None,
    offset: Duration = 0,
    grace: Duration = 0,
    emit: str = "change",
    retention: Duration | None = None,
    time: str = "event",
) -> FixedWindow | CalendarWindow:
    """Cut time into windows of one size that do not overlap.

    `emit="change"` publishes a row at each commit that changed it, `"close"` once, when the window can no
    longer change. `retention` says how long after its end a window is kept for queries (default: for ever).
    `time="processing"` goes by the wall clock when a task takes a record, not by its event time: no record is late.

    Windows are aligned to the epoch in UTC; `offset` moves that: `tumbling("1d", offset="6h")` begins at six. With
    `tz`, days (`"1d"`), weeks (`"1w"`, from Monday), months (`"1mo"`), quarters (`"1q"`) and years (`"1y"`) are those
    of the calendar there: a day in Berlin has 23 or 25 hours when the clocks change. Months, quarters and years
    without `tz` are those of UTC.

    >>> print(tumbling("1h", grace="10m"))
    tumbling(1h, grace=10m, emit=change)
    >>> print(tumbling("1d", tz="Europe/Berlin"))
    tumbling(1d, tz=Europe/Berlin, grace=0s, emit=change)
    """
    return _aligned("tumbling", size, size, tz, offset, _common(grace, emit, retention, time))


def hopping(
    size: Duration | None = None,
    step: Duration | None = None,
    *,
    tz: str | None = None,
    offset: Duration = 0,
    grace: Duration = 0,
    emit: str = "change",
    retention: Duration | None = None,
    time: str = "event",
) -> FixedWindow | CalendarWindow:
    """Cut time into windows of one size, a new one beginning each `step`; a record is in several.

    `tz`, `offset` and `time` are as for `tumbling`.

    >>> hopping("10s", "5s").starts(12_000_000)
    [5000000, 10000000]
    """
    if step is None:
        raise DeclarationError('a hopping window needs a step: hopping("24h", "6h").')
    return _aligned("hopping", size, step, tz, offset, _common(grace, emit, retention, time))


def session(
    gap: Duration | None = None,
    *,
    grace: Duration = 0,
    emit: str = "change",
    retention: Duration | None = None,
    time: str = "event",
) -> SessionWindow:
    """Put records of a key together as long as there is at most `gap` between one and the next.

    A record between two sessions merges them. The window's bounds are the event times of the first and the last record.
    A session is closed, and takes no more records, once the watermark is beyond its last record + `gap` + `grace`.
    `time` is as for `tumbling`.

    >>> print(session("30m", grace="1m"))
    session(30m, grace=1m, emit=change)
    """
    if gap is None:
        raise DeclarationError('a session window needs a gap: session("30m").')
    gap_us = microseconds(gap, "session gap")
    if gap_us <= 0:
        raise DeclarationError(f"a session's gap must be positive, not {gap!r}.")
    return SessionWindow(gap=gap_us, **_fields(_common(grace, emit, retention, time)))


def sliding(
    difference: Duration | None = None,
    *,
    grace: Duration = 0,
    emit: str = "change",
    retention: Duration | None = None,
) -> SlidingWindow:
    """Take each set of a key's records that are at most `difference` apart, once: Kafka Streams' sliding windows.

    Both bounds are inclusive: a window ends at a record, and holds it and all up to `difference` before it; or it
    begins 1 µs after a record, and holds those that come within `difference` then.

    >>> print(sliding("10m"))
    sliding(10m, grace=0s, emit=change)
    """
    if difference is None:
        raise DeclarationError('a sliding window needs a time difference: sliding("10m").')
    found = microseconds(difference, "time difference")
    if found < 0:
        raise DeclarationError(f"a sliding window's time difference must not be negative: {difference!r}.")
    return SlidingWindow(difference=found, **_fields(_common(grace, emit, retention)))


def count_window(records: int | None = None, *, emit: str = "change", retention: Duration | None = None) -> CountWindow:
    """Put each `records` records of a key together, in the order in which they come: no record is late.

    A row shows `window_number` beside the event times of its first record (`window_start`) and the latest of its
    records (`window_end`). `emit="close"` publishes it once it is complete; silence does not complete it. `retention`
    counts from `window_end` on, for windows that become complete while it is declared.

    >>> print(count_window(100, emit="close"))
    count_window(100, emit=close)
    """
    if not isinstance(records, int) or isinstance(records, bool) or records < 1:
        raise DeclarationError(f"a count window needs a number of records, such as count_window(100), not {records!r}.")
    return CountWindow(records=records, **_fields(_common(0, emit, retention)))


def _aligned(
    kind: str, size: Duration | None, step: Duration | None, tz: str | None, offset: Duration, common: Window
) -> FixedWindow | CalendarWindow:
    if size is None or step is None:
        raise DeclarationError(f'a {kind} window needs a size: {kind}("10s").')
    if tz is not None or calendar_period(size, tz) or calendar_period(step, tz):
        return _calendar(kind, size, step, "UTC" if tz is None else check_zone(tz), offset, common)
    size_us, step_us = microseconds(size, "window size"), microseconds(step, "window step")
    if size_us <= 0:
        raise DeclarationError(f"a {kind} window's size must be positive, not {size!r}.")
    if not 0 < step_us <= size_us:
        raise DeclarationError(f"a hopping window's step must be in (0, size]: step {step!r}, size {size!r}.")
    offset_us = _offset(offset, step, step_us)
    return FixedWindow(size=size_us, step=step_us, offset=offset_us, **_fields(common))


def _calendar(kind: str, size: Duration, step: Duration, tz: str, offset: Duration, common: Window) -> CalendarWindow:
    size_in, step_in = calendar_period(size, tz), calendar_period(step, tz)
    if size_in is None or step_in is None:
        wrong = size if size_in is None else step
        raise DeclarationError(
            f"a {kind} window of the calendar in {tz} cannot have {wrong!r}: write whole "
            'days, weeks, months, quarters or years ("1d", "1w", "1mo", "1q", "1y"), or leave out tz= (offset= moves '
            "where shorter windows begin)."
        )
    alike = in_one_unit(size_in, step_in)
    if alike is None or not 0 < alike[1].number <= alike[0].number:
        raise DeclarationError(
            f"a {kind} window's step must be in (0, size], in the same periods: step {step!r}, size {size!r}."
        )
    (count, unit), (every, _) = alike
    offset_us = _offset(offset, step, every * LONGEST[unit] * 86_400_000_000)
    return CalendarWindow(unit=unit, size=count, step=every, tz=tz, offset=offset_us, **_fields(common))


def _offset(offset: Duration, step: Duration, below: int) -> int:
    found = microseconds(offset, "window offset")
    if not 0 <= found < below:
        raise DeclarationError(f"a window's offset must be at least 0 and less than {step!r}, not {offset!r}.")
    return found


def _common(grace: Duration, emit: str, retention: Duration | None, time: str = "event") -> Window:
    """Check what all kinds of windows have."""
    grace_us = microseconds(grace, "window grace")
    if grace_us < 0:
        raise DeclarationError(f"a window's grace must not be negative: {grace!r}.")
    for name, value, known in (("emit", emit, ("change", "close")), ("time", time, ("event", "processing"))):
        if value not in known:
            raise DeclarationError(
                f'{name}={value!r}: expected "{known[0]}" or "{known[1]}".', suggestion=nearest(value, known)
            )
    if time == "processing" and grace_us:
        raise DeclarationError(f'grace={grace!r} with time="processing": by the clock no record is late; leave it out.')
    keep = None if retention is None else microseconds(retention, "window retention")
    if keep is not None and keep < grace_us:
        raise DeclarationError(f"retention {retention!r} is shorter than grace {grace!r}: late records would be lost.")
    return Window(grace=grace_us, emit=emit, retention=keep, time=time)


def _fields(common: Window) -> dict[str, Any]:
    return msgspec.structs.asdict(common)
