"""The first example, by the test driver; its page is run by `tests/docs`."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from flows.pytest_plugin import Drive

EXAMPLE = Path(__file__).parents[2] / "examples" / "01_hello" / "flow.py"


@pytest.fixture
def flow() -> dict[str, object]:
    return runpy.run_path(str(EXAMPLE))


def test_words_are_counted_by_minute(drive: Drive, flow: dict[str, object]) -> None:
    t = drive(flow["app"])
    for word, at in (("hello", 60.0), ("hello", 119.9), ("hi", 61.0), ("hello", 120.0)):
        t.send("words", {"word": word}, at=at)
    assert t.table("words_per_minute").rows() == [
        {"word": "hello", "window_start": 60.0, "window_end": 120.0, "times": 2},
        {"word": "hi", "window_start": 60.0, "window_end": 120.0, "times": 1},
        {"word": "hello", "window_start": 120.0, "window_end": 180.0, "times": 1},
    ]


def test_the_longest_word_of_a_letter_stays(drive: Drive, flow: dict[str, object]) -> None:
    t = drive(flow["app"])
    for word in ("hi", "hello", "hey", "you"):
        t.send("words", {"word": word}, at=0.0)
    assert t.table("longest").rows() == [{"key": "h", "value": "hello"}, {"key": "y", "value": "you"}]
