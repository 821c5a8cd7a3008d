"""The whole command line against a real worker process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows.brokers.registry import open_broker
from tests.cli.conftest import Run
from tests.cli.workers import DEADLINE, Start

DEPARTURES = "".join(json.dumps({"carrier": c, "delay": d, "at": 1357034400 + d}) + "\n"
                     for d, c in enumerate(["UA", "AA", "UA", "B6", "UA"]))  # fmt: skip
COUNTS = [{"carrier": "AA", "n": 1}, {"carrier": "B6", "n": 1}, {"carrier": "UA", "n": 3}]
SQL = "SELECT carrier, sum(flights) AS n FROM delays GROUP BY 1 ORDER BY 1"


def query(run: Run, sql: str = SQL) -> list[dict[str, object]]:
    shown = run("query", sql, "--format", "json")
    assert shown.exit_code == 0, shown.output
    found: list[dict[str, object]] = json.loads(shown.stdout)
    return found


def test_drain_then_query_without_a_worker(start: Start, run: Run) -> None:
    run("send", "departures", "-", stdin=DEPARTURES)
    worker = start("--drain")
    assert worker.process.wait(timeout=DEADLINE) == 0
    assert "stopped: " in worker.rest()[-1]
    assert query(run) == COUNTS
    assert query(run, "SELECT sum(value)::INT AS n FROM in_a_row") == [{"n": 5}]
    run("send", "departures", '{"carrier": "AA", "delay": null, "at": 1357034400}')
    assert start("--drain", "--log-json").process.wait(timeout=DEADLINE) == 0
    assert query(run, SQL + " LIMIT 1") == [{"carrier": "AA", "n": 2}]


def test_a_running_worker_answers_and_stops_gracefully(start: Start, run: Run) -> None:
    worker = start()
    worker.wait_for("the live page is at http://127.0.0.1:")
    worker.wait_for("holds 2 of 2 tasks")
    run("send", "departures", "-", stdin=DEPARTURES)
    shown = run("tail", "departures", "--from-beginning", "--limit", "5", "--format", "json")
    assert len(shown.stdout.splitlines()) == 5
    assert [t["name"] for t in json.loads(run("tables", "--format", "json").stdout)] == ["delays", "in_a_row"]
    while query(run) != COUNTS:
        assert worker.process.poll() is None
    assert worker.stop() == 0
    assert query(run) == COUNTS


def test_a_killed_worker_leaves_its_tables_readable(start: Start, run: Run) -> None:
    worker = start()
    worker.wait_for("holds 2 of 2 tasks")
    run("send", "departures", "-", stdin=DEPARTURES)
    while query(run) != COUNTS:
        assert worker.process.poll() is None
    worker.stop(signal.SIGKILL)
    assert query(run) == COUNTS


def test_a_worker_with_a_token_answers_those_who_have_it(start: Start, run: Run, airport: Path) -> None:
    (airport / "token").write_text("open sesame\n")
    worker = start("--web-host", "0.0.0.0", "--web-token-file", "token", "-l", "debug")
    port = worker.wait_for("the live page is at").split(":")[-1].strip()
    tables = f"http://127.0.0.1:{port}/api/tables"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(tables, timeout=DEADLINE)
    asked = urllib.request.Request(tables, headers={"Authorization": "Bearer open sesame"})
    with urllib.request.urlopen(asked, timeout=DEADLINE) as answer:
        assert [t["name"] for t in json.load(answer)] == ["delays", "in_a_row"]
    worker.wait_for("holds 2 of 2 tasks")
    assert worker.stop() == 0
    worker.wait_for("stopped: ")
    assert "sesame" not in "".join(worker.lines)


def test_a_public_page_without_a_token_is_refused(start: Start) -> None:
    worker = start("--web-host", "0.0.0.0")
    assert worker.process.wait(timeout=DEADLINE) == 2
    assert "give a token: FLOWS_WEB_TOKEN, or --web-token-file PATH" in worker.wait_for("Error: ")


def test_json_log_lines(start: Start) -> None:
    worker = start("--log-json")
    line = json.loads(worker.wait_for("the live page is at"))
    assert {"time", "level", "logger", "message"} <= line.keys()
    assert worker.stop(signal.SIGTERM) == 0


def test_a_port_that_is_taken_is_one_line(start: Start, airport: Path) -> None:
    first = start()
    port = first.wait_for("the live page is at").split(":")[-1].strip()
    second = start("--web-port", port, "--data", "other")
    assert second.process.wait(timeout=DEADLINE) == 1
    assert port in second.wait_for("Error: ")


def test_the_broker_is_the_one_of_the_url(start: Start, run: Run, airport: Path) -> None:
    url = f"embedded://{airport / 'shared'}"
    assert run("send", "departures", "-", "--broker", url, stdin=DEPARTURES).exit_code == 0
    assert start("--drain", "--broker", url).process.wait(timeout=DEADLINE) == 0
    assert open_broker(url).__class__.__name__ == "EmbeddedBroker"
    assert not (airport / ".flows" / "airport" / "broker").exists()
    shown = run("query", SQL, "--broker", url, "--format", "json")
    assert json.loads(shown.stdout) == COUNTS


def test_ctrl_c_ends_a_tail(run: Run, airport: Path) -> None:
    run("send", "departures", "-", stdin=DEPARTURES)
    command = [sys.executable, "-m", "flows", "tail", "departures", "--from-beginning"]
    with subprocess.Popen(command, cwd=airport, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert [tail.stdout.readline().startswith("departures/") for _ in range(5)] == [True] * 5
        tail.send_signal(signal.SIGINT)
        _, err = tail.communicate(timeout=DEADLINE)
    assert (tail.returncode, err) == (0, "")
