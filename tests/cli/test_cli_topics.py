"""`flows topics`: what there is at the broker, and a changed retention brought there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import AIRPORT, Run

DEPARTURE = json.dumps({"carrier": "UA", "delay": 1.0, "at": 1.0})


@pytest.fixture
def redeclare(airport: Path) -> Any:
    """Declare the topic of alerts in another way."""

    def write(declaration: str) -> None:
        (airport / "other.py").write_text(
            AIRPORT.replace('"alerts", value=dict', f'"alerts", value=dict, {declaration}')
        )

    return write


def listed(run: Run, *more: str) -> dict[str, dict[str, Any]]:
    shown = run("topics", "-A", "airport", "--format", "json", *more)
    assert shown.exit_code == 0, shown.output
    return {row["topic"]: row for row in json.loads(shown.stdout)}


def test_topics_are_listed_with_what_they_hold(airport: Path, run: Run) -> None:
    for _ in range(3):
        run("send", "departures", DEPARTURE)
    assert listed(run)["alerts"]["differs"] == "not made yet"
    assert run("worker", "--drain", "--web-port", "-1").exit_code == 0
    found = listed(run)
    assert found["departures"] == {
        "topic": "departures",
        "partitions": 2,
        "cleanup": "delete",
        "retention": "7d",
        "records": 3,
        "kind": "declared",
        "differs": None,
    }
    changelog = found["airport-delays-changelog"]
    assert (changelog["cleanup"], changelog["kind"], changelog["retention"]) == ("compact", "internal", None)
    assert found["airport-dead-letters"]["retention"] == "for ever"
    shown = run("topics").stdout.splitlines()
    assert shown[0].split() == ["topic", "partitions", "cleanup", "retention", "records", "kind", "differs"]


def test_a_changed_retention_is_refused_told_and_applied(run: Run, redeclare: Any) -> None:
    run("send", "alerts", "1", "-A", "airport")
    redeclare('retention="30d"')
    refused = run("worker", "-A", "other.py", "--drain", "--web-port", "-1")
    assert refused.exit_code == 1
    assert "retention is 604800.0, wanted 2592000.0; `flows topics --apply` alters it" in refused.stderr
    assert listed(run, "-A", "other.py")["alerts"]["differs"] == "retention declared 30d"
    assert run("topics", "-A", "other.py", "--apply").stdout == "alerts: retention 7d -> 30d\n"
    assert run("worker", "-A", "other.py", "--drain", "--web-port", "-1").exit_code == 0
    again = run("topics", "-A", "other.py", "--apply")
    assert (again.stdout, "Nothing to alter" in again.stderr) == ("", True)


def test_a_shorter_retention_is_asked_about_first(run: Run, redeclare: Any) -> None:
    run("send", "alerts", "1", "-A", "airport")
    redeclare('retention="1h"')
    asked = run("topics", "-A", "other.py", "--apply", stdin="n\n")
    assert asked.exit_code == 1
    assert "alerts: retention 7d -> 1h; older records are removed at once" in asked.stderr
    assert listed(run)["alerts"]["retention"] == "7d"
    assert run("topics", "-A", "other.py", "--apply", "--yes").exit_code == 0
    assert listed(run)["alerts"]["retention"] == "1h"


def test_partitions_are_never_altered(run: Run, redeclare: Any) -> None:
    run("send", "alerts", "1", "-A", "airport")
    redeclare("partitions=5")
    assert listed(run, "-A", "other.py")["alerts"]["differs"] == "partitions declared 5"
    assert "Nothing to alter" in run("topics", "-A", "other.py", "--apply").stderr
    assert listed(run)["alerts"]["partitions"] == 2
    refused = run("worker", "-A", "other.py", "--drain", "--web-port", "-1").stderr
    assert "partitions is 2, wanted 5; declare it as it is, choose another name, or delete the topic first" in refused
