"""Windows: how a group's records are cut by their event time."""

from __future__ import annotations

import msgspec

from dsl.durations import Duration, microseconds, show
from dsl.errors import DeclarationError, nearest


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A time window `[start, end)`, aligned to the epoch; all times in microseconds.

    A tumbling window has `step == size`. A record is late for a window once end + `grace` ≤ watermark.
    `retention` is how long after its end a window is kept; None keeps it for ever.
    """

    size: int
    step: int
    grace: int = 0
    emit: str = "change"
    retention: int | None = None

    @property
    def is_tumbling(self) -> bool:
        return self.step == self.size

    def starts(self, time: int) -> list[int]:
        """Return the starts of the windows that hold an event time, ascending."""
        first = ((time - self.size) // self.step + 1) * self.step
        return list(range(first, time + 1, self.step))

    @property
    def shape(self) -> str:
        """How time is cut, without what happens then: `hopping(24h, 6h)`."""
        return f"tumbling({show(self.size)})" if self.is_tumbling else f"hopping({show(self.size)}, {show(self.step)})"

    def __str__(self) -> str:
        keep = "" if self.retention is None else f", retention={show(self.retention)}"
        return f"{self.shape[:-1]}, grace={show(self.grace)}, emit={self.emit}{keep})"


def tumbling(
    size: Duration | None = None,
    *,
    grace: Duration = 0,
    emit: str = "change",
    retention: Duration | None = None,
) -> Window:
    """Cut time into windows of one size that do not overlap.

    `emit="change"` publishes a row at each commit that changed it, `"close"` once, when the window can no
    longer change. `retention` says how long after its end a window is kept for queries (default: for ever).

    >>> print(tumbling("1h", grace="10m"))
    tumbling(1h, grace=10m, emit=change)
    """
    return _window("tumbling", size, size, grace, emit, retention)


def hopping(
    size: Duration | None = None,
    step: Duration | None = None,
    *,
    grace: Duration = 0,
    emit: str = "change",
    retention: Duration | None = None,
) -> Window:
    """Cut time into windows of one size, a new one beginning each `step`; a record is in several.

    >>> hopping("10s", "5s").starts(12_000_000)
    [5000000, 10000000]
    """
    if step is None:
        raise DeclarationError('a hopping window needs a step: hopping("24h", "6h").')
    return _window("hopping", size, step, grace, emit, retention)


def _window(
    kind: str,
    size: Duration | None,
    step: Duration | None,
    grace: Duration,
    emit: str,
    retention: Duration | None,
) -> Window:
    if size is None or step is None:
        raise DeclarationError(f'a {kind} window needs a size: {kind}("10s").')
    size_us, step_us = microseconds(size, "window size"), microseconds(step, "window step")
    grace_us = microseconds(grace, "window grace")
    if size_us <= 0:
        raise DeclarationError(f"a {kind} window's size must be positive, not {size!r}.")
    if not 0 < step_us <= size_us:
        raise DeclarationError(f"a hopping window's step must be in (0, size]: step {step!r}, size {size!r}.")
    if grace_us < 0:
        raise DeclarationError(f"a window's grace must not be negative: {grace!r}.")
    if emit not in ("change", "close"):
        raise DeclarationError(
            f'emit={emit!r}: expected "change" or "close".', suggestion=nearest(emit, ["change", "close"])
        )
    keep = None if retention is None else microseconds(retention, "window retention")
    if keep is not None and keep < grace_us:
        raise DeclarationError(f"retention {retention!r} is shorter than grace {grace!r}: late records would be lost.")
    return Window(size=size_us, step=step_us, grace=grace_us, emit=emit, retention=keep)
