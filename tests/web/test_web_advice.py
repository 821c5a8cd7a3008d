"""How a group is, in words: each trouble is named, with what to do about it, and the worst comes first."""

from __future__ import annotations

from typing import Any

import pytest

from flows.web.advice import advise
from flows.web.base import Advice, ErrorStatus, GroupStatus, TaskStatus, WorkerStatus

NOW = 1_000_000.0
TASKS = (TaskStatus(id="orders/0", state="running"), TaskStatus(id="orders/1", state="running"))


def worker(**about: Any) -> WorkerStatus:
    return WorkerStatus(
        **{
            "worker": "w1",
            "address": "",
            "ready": True,
            "state": "running",
            "tasks": TASKS,
            "records_per_second": 1000.0,
            **about,
        }
    )


def first(*workers: WorkerStatus, unheld: tuple[str, ...] = ()) -> Advice:
    return advise(GroupStatus(workers=workers, unheld=unheld), NOW)[0]


def test_all_is_well() -> None:
    assert first(worker()).words == "All is well: 1 worker with 2 tasks processes 1,000 records a second."
    assert first(worker(records_per_second=0.0)).words == "All is well: 1 worker with 2 tasks waits for records."
    both = first(worker(), worker(worker="w2"))
    assert (both.level, both.words) == ("good", "All is well: 2 workers with 4 tasks process 2,000 records a second.")


@pytest.mark.parametrize(
    ("about", "level", "words", "todo"),
    [
        ({"trouble": "does not answer"}, "bad", "Worker w1 does not answer.", "Look at its log"),
        (
            {"tasks": (TaskStatus(id="a/0", state="failed", error="disk full"),)},
            "bad",
            "Task a/0 has failed: disk full.",
            "start the worker again",
        ),
        (
            {"tasks": (TaskStatus(id="a/0", state="restoring", done=25, total=100, rate=5.0),), "ready": False},
            "warn",
            "1 task being restored from the changelogs, 25 % done, about 15 s to go.",
            "nothing to do but wait",
        ),
        (
            {"lag": 50_000, "lag_growth": 500.0, "stages": {"agent": 0.8, "commit": 0.2}, "busy": 1.0},
            "bad",
            "Falling behind: 50,000 records wait to be processed, 500 more each second.",
            "An agent takes most of the time",
        ),
        (
            {"lag": 50_000, "records_per_second": 0.0},
            "bad",
            "50,000 records wait to be processed, and none is being processed.",
            "look at the errors",
        ),
        ({"loop_lag": 0.8}, "warn", "The event loop of w1 stood still for 800 ms.", "asyncio.to_thread"),
        (
            {"refused": {"orders": 3}, "refused_lately": {"orders": 1}},
            "warn",
            "3 records did not fit orders since the start.",
            "drive them again",
        ),
        (
            {"errors": (ErrorStatus(step="worker", message="no broker", count=2, at=NOW - 5),)},
            "warn",
            "no broker (2 times)",
            "",
        ),
    ],
)
def test_each_trouble_is_said_with_what_to_do(about: dict[str, Any], level: str, words: str, todo: str) -> None:
    found = first(worker(**about))
    assert (found.level, found.words) == (level, words)
    assert todo in found.todo


def test_what_is_over_or_expected_leaves_all_well() -> None:
    catching_up = worker(lag=5000, lag_growth=-100.0)
    late = worker(late={"sales": 7}, refused={"orders": 3})
    old = worker(errors=(ErrorStatus(step="worker", message="no broker", at=NOW - 3600),))
    for known in (catching_up, late, old, worker(lag=1500)):
        assert first(known).level in ("info", "good")
        assert advise(GroupStatus(workers=(known,)), NOW)[-1].level == "good"
    said = [advice.words for advice in advise(GroupStatus(workers=(catching_up,)), NOW)]
    assert said[0] == "Catching up: 5,000 records wait to be processed, at this pace for about 50 s."


def test_tasks_that_nobody_holds_are_said() -> None:
    assert first(worker(), unheld=("a/0", "a/1")).words == "Nobody holds 2 tasks: their records wait."
    assert first(worker(ready=False), unheld=("a/0",)).level != "warn"


def test_the_worst_comes_first() -> None:
    found = advise(GroupStatus(workers=(worker(loop_lag=1.0), worker(worker="w2", trouble="does not answer"))), NOW)
    assert [advice.level for advice in found] == ["bad", "warn"]


def test_more_workers_are_advised_where_they_would_have_work() -> None:
    falling = {"lag": 50_000, "lag_growth": 500.0}
    assert first(worker(**falling)).todo == "Start more workers: 2 tasks run on 1 worker."
    assert "more partitions" in first(worker(**falling, tasks=TASKS[:1])).todo
