"""The example of sessions, by the test driver; its page is run by `tests/docs`."""

from __future__ import annotations

import runpy
from pathlib import Path

from flows.pytest_plugin import Drive

EXAMPLE = Path(__file__).parents[2] / "examples" / "02_visits" / "flow.py"


def test_a_late_click_makes_one_visit_of_two(drive: Drive) -> None:
    t = drive(runpy.run_path(str(EXAMPLE))["app"])
    for page, at in (("/", 0.0), ("/docs", 1000.0), ("/out", 2850.0), ("/faq", 2700.0)):
        t.send("clicks", {"user": "ada", "page": page, "at": at})
    (visit,) = t.table("visits").rows()
    assert (visit["window_start"], visit["window_end"], visit["clicks"]) == (0.0, 2850.0, 4)
    assert (visit["came_to"], visit["left_from"]) == ("/", "/out")
    assert [row["clicks"] for row in t.table("clicks_per_day").rows()] == [4]
