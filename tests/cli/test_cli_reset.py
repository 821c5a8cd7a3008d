"""`flows reset`: what goes, what stays, and that what is computed again is the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from flows.brokers.embedded import EmbeddedBroker
from tests.cli.conftest import AIRPORT, Run

LINES = "".join(
    json.dumps({"carrier": c, "delay": 1.0, "at": 10.0 * i}) + "\n" for i, c in enumerate(["UA", "AA", "UA"])
)
COUNTS = [{"carrier": "AA", "flights": 1}, {"carrier": "UA", "flights": 2}]
ROW = [{"key": "AA", "value": 1}, {"key": "UA", "value": 2}]


@pytest.fixture
def drained(airport: Path, run: Run) -> Path:
    """A data folder that a worker has left."""
    assert run("send", "departures", "-", stdin=LINES).exit_code == 0
    drain(run)
    return airport


def drain(run: Run, *more: str) -> None:
    shown = run("worker", "--drain", "--web-port", "-1", *more)
    assert shown.exit_code == 0, shown.output


def rows(run: Run, what: str) -> object:
    shown = run("query", f"SELECT {what} ORDER BY 1", "--format", "json", "-A", "airport")
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout)


def both(run: Run) -> tuple[object, object]:
    return rows(run, "carrier, flights FROM delays"), rows(run, "key, value FROM in_a_row")


def test_everything_is_computed_again_from_the_beginning(drained: Path, run: Run) -> None:
    assert both(run) == (COUNTS, ROW)
    shown = run("reset", "--all", "--yes")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert "topic airport-delays-changelog" in lines
    assert "committed positions of group airport" in lines
    assert not (drained / ".flows/airport/state").exists()
    left = {r["topic"] for r in json.loads(run("topics", "--format", "json").stdout) if r["differs"] is None}
    assert left == {"departures", "alerts", "texts", "airport-dead-letters", "airport-delays-late"}
    drain(run)
    assert both(run) == (COUNTS, ROW)


def test_one_table_is_emptied_and_goes_on(drained: Path, run: Run) -> None:
    shown = run("reset", "--table", "in_a_row", "--yes")
    assert shown.stdout.splitlines()[0] == "topic airport-in_a_row-changelog"
    assert both(run) == (COUNTS, [])
    run("send", "departures", LINES.splitlines()[0])
    drain(run)
    assert both(run) == ([COUNTS[0], {"carrier": "UA", "flights": 3}], [{"key": "UA", "value": 1}])


def test_a_table_of_another_type_may_begin_anew(drained: Path, run: Run) -> None:
    (drained / "other.py").write_text(AIRPORT.replace("value=int, default=int", "value=float, default=float"))
    run("send", "departures", LINES.splitlines()[0], "-A", "airport")
    refused = run("worker", "--drain", "--web-port", "-1", "-A", "other")
    assert (
        "value type was int, is float; rename the table, or empty it: `flows reset --table in_a_row`" in refused.stderr
    )
    assert run("reset", "--table", "in_a_row", "--yes", "-A", "other").exit_code == 0
    drain(run, "-A", "other")
    assert rows(run, "key, value FROM in_a_row") == [{"key": "UA", "value": 1.0}]


def test_nothing_goes_without_a_yes(drained: Path, run: Run) -> None:
    dry = run("reset", "--all", "--dry-run")
    assert (dry.exit_code, "topic airport-delays-changelog" in dry.stdout) == (0, True)
    assert run("reset", "--all", stdin="n\n").exit_code == 1
    assert both(run) == (COUNTS, ROW)


def test_a_running_worker_keeps_its_state(drained: Path, run: Run) -> None:
    async def while_a_worker_lives() -> str:
        broker = EmbeddedBroker(drained / ".flows/airport/broker")
        await broker.start()
        membership = await broker.join("airport", "one", {"departures/0": ()})
        try:
            shown = await asyncio.to_thread(run, "reset", "--all", "--yes")
        finally:
            await membership.leave()
            await broker.close()
        assert shown.exit_code == 1
        return shown.stderr

    assert "a worker of 'airport' is running: one; stop it first" in asyncio.run(while_a_worker_lives())
    assert both(run) == (COUNTS, ROW)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], 2, "give --all, or --table NAME"),
        (["--all", "--table", "delays"], 2, "give --all, or --table NAME"),
        (["--table", "delay"], 2, "there is no table 'delay'; did you mean 'delays'?"),
    ],
)
def test_what_goes_must_be_told(drained: Path, run: Run, args: list[str], code: int, words: str) -> None:
    shown = run("reset", *args)
    assert (shown.exit_code, words in shown.stderr) == (code, True)


def test_the_data_of_another_app_stay(drained: Path, run: Run) -> None:
    (drained / "other.py").write_text('import flows\n\napp = flows.App("other")\n')
    shown = run("reset", "-A", "other.py", "--data", ".flows/airport", "--all", "--yes")
    assert shown.exit_code == 2
    assert "has the data of app 'airport', not of 'other'" in shown.stderr
    assert both(run) == (COUNTS, ROW)
