"""The pause after small batches: none to speak of while there is time, up to its bound when there is none."""

from __future__ import annotations

import pytest

from flows.run.linger import MOST, Linger


def test_it_grows_while_the_thread_has_no_time_and_shrinks_when_it_has() -> None:
    linger = Linger()
    least = linger.seconds
    for _ in range(20):
        linger.fit(1.0)
    assert linger.seconds == MOST
    for _ in range(20):
        linger.fit(0.1)
    assert linger.seconds == least


def test_a_busy_share_on_target_changes_nothing() -> None:
    linger = Linger()
    linger.fit(0.9)
    before = linger.seconds
    linger.fit(0.6)
    assert linger.seconds == pytest.approx(before)


def test_a_batch_that_cost_nothing_is_not_waited_for() -> None:
    linger = Linger()
    for _ in range(20):
        linger.fit(1.0)
    assert linger.after(0.0) == 0.0
    assert linger.after(0.001) == 0.002


def test_what_is_a_transaction_is_followed_by_as_long_a_pause_up_to_20_ms() -> None:
    linger = Linger(by_cost=True)
    assert linger.after(0.001) == 0.001
    assert linger.after(1.0) == 0.02
