"""Windows: which of them hold an event time, against trying all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import count_window, hopping, session, sliding, tumbling

SECOND = 10**6


@given(st.integers(-200, 200), st.integers(1, 30), st.integers(1, 30))
def test_starts_are_all_windows_that_hold_the_time(time: int, size: int, step: int) -> None:
    size, step = max(size, step), min(size, step)
    window = hopping(size / SECOND, step / SECOND)
    tried = range((time - size) // step * step - step, time + step + 1)
    assert window.starts(time) == [s for s in tried if s % step == 0 and s <= time < s + size]


@given(st.integers(-(10**15), 10**16), st.integers(1, 10**12))
def test_a_tumbling_window_holds_each_time_once(time: int, size: int) -> None:
    window = tumbling(size / SECOND)
    assert window.size == window.step
    (start,) = window.starts(time)
    assert start % window.size == 0
    assert start <= time < start + window.size


@given(st.integers(-(10**15), 10**16), st.integers(1, 10**6), st.data())
def test_offsets_move_windows(time: int, size: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, size - 1))
    (start,) = tumbling(size / SECOND, offset=offset / SECOND).starts(time)
    assert (start - offset) % size == 0
    assert start <= time < start + size


def test_hopping_with_a_step_that_does_not_divide_its_size() -> None:
    assert hopping("10s", "3s").starts(11 * SECOND) == [3 * SECOND, 6 * SECOND, 9 * SECOND]


def test_a_hopping_window_with_step_and_size_alike_is_tumbling() -> None:
    assert hopping("1h", "1h") == tumbling("1h")


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (tumbling("90m"), "tumbling(1h30m, grace=0s, emit=change)"),
        (hopping(86400, "6h", grace=60, emit="close"), "hopping(1d, 6h, grace=1m, emit=close)"),
        (tumbling("1h", retention="7d"), "tumbling(1h, grace=0s, emit=change, retention=7d)"),
        (tumbling("10s", time="processing"), "tumbling(10s, time=processing, emit=change)"),
        (session("30m", time="processing", emit="close"), "session(30m, time=processing, emit=close)"),
        (session("30m", grace=5, retention="1d"), "session(30m, grace=5s, emit=change, retention=1d)"),
        (sliding("10m", emit="close"), "sliding(10m, grace=0s, emit=close)"),
        (count_window(5, emit="close", retention="1h"), "count_window(5, emit=close, retention=1h)"),
        (tumbling("1d", offset="6h"), "tumbling(1d, offset=6h, grace=0s, emit=change)"),
        (tumbling("1q"), "tumbling(3mo, tz=UTC, grace=0s, emit=change)"),
        (hopping("14d", "1w", tz="Asia/Tokyo"), "hopping(2w, 1w, tz=Asia/Tokyo, grace=0s, emit=change)"),
        (
            hopping("1w", "1d", tz="UTC", offset="5h", emit="close"),
            "hopping(7d, 1d, tz=UTC, offset=5h, grace=0s, emit=close)",
        ),
    ],
)
def test_windows_print_as_they_are_written(window: object, text: str) -> None:
    assert str(window) == text
