"""docker-compose.yml as it stands, but without containers: three brokers, two workers, a month of flights."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.deploy.compose import TOKEN, Here, dockerfile, read_yaml
from tests.deploy.scraped import OPENMETRICS, ask, described, families
from tests.flights import expected
from tests.flights.part import package_of
from tests.kafka.jvm import run

PATIENCE = 900.0
MONTHS = 1
TOTALS = "SELECT count(*), sum(flights) FROM delays_by_carrier"


@pytest.mark.kafka
def test_the_flights_come_in(tmp_path: Path) -> None:
    # The year on a Kafka is tests/flights'; with three copies of all it takes minutes.
    with Here(tmp_path, package_of(MONTHS, tmp_path / "packages")) as here:
        here.start_brokers()
        for worker in here.named("worker"):
            here.start_worker(worker)

        windows = expected.delays_by_carrier(expected.departures(MONTHS))
        wanted = [len(windows), sum(count for count, *_ in windows.values())]
        (job,) = read_yaml("deploy/prometheus.yml")["scrape_configs"]
        targets = [here.translated("prometheus", target) for target in job["static_configs"][0]["targets"]]
        token = Path(here.translated("prometheus", job["authorization"]["credentials_file"])).read_text()
        assert token == TOKEN
        for target in targets:
            until(lambda target=target: totals(f"http://{target}") == wanted, f"{wanted} at {target}", here)

        tasks, records = [], 0.0
        for target in targets:
            _, text = ask(f"http://{target}", "/metrics", token, Accept=OPENMETRICS)
            assert {"flows_records_total", "flows_latency_seconds"} < described(families(text)).keys()
            samples = [sample for family in families(text) for sample in family.samples]
            tasks += [s.labels["task"] for s in samples if s.name == "flows_task_state" and s.value == 1]
            records += sum(s.value for s in samples if s.name == "flows_records_total")
            assert [s.value for s in samples if s.name == "flows_ready"] == [1]
        assert len(tasks) == len(set(tasks)), "a task runs twice"
        assert records >= expected.departures(MONTHS).height
        told = json.loads(here.execute("worker-1", "query", "-A", "examples/flights", TOTALS, "--format", "json"))
        assert [list(row.values()) for row in told] == [wanted]
        assert_replicated(here)
        assert_healthy(here)


def totals(address: str) -> list[int] | None:
    """Return how many windows and flights a worker knows of; None where it cannot tell yet."""
    question = Request(
        f"{address}/api/query",
        json.dumps({"sql": TOTALS}).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urlopen(question, timeout=60) as response:
            told = json.load(response)
    except URLError:
        return None
    return None if told["missing"] else told["rows"][0]


def until(met: Callable[[], bool], what: str, here: Here) -> None:
    """Wait for something that workers tell when they are asked."""
    deadline = time.monotonic() + PATIENCE
    while not met():
        for name, process in here.workers.items():
            assert process.poll() is None, here.log(name).read_text()
        assert time.monotonic() < deadline, f"not {what} after {PATIENCE} s: " + here.log("worker-1").read_text()
        # Nothing tells of new rows without asking, and asking takes the time of those that are waited for.
        time.sleep(0.5)


def assert_replicated(here: Here) -> None:
    """All topics have three copies, of which two must be there."""
    brokers = here.address("kafka-1", "9092")
    told = run("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", brokers, "--describe")
    topics = [line for line in told.splitlines() if "PartitionCount" in line]
    assert len(topics) >= 5
    for line in topics:
        assert "ReplicationFactor: 3" in line
        assert "min.insync.replicas=2" in line or "Topic: __" in line, line


def assert_healthy(here: Here) -> None:
    """The image's health check passes with each worker's variables."""
    command = json.loads(dockerfile("HEALTHCHECK")[0].split("CMD ", 1)[1])
    for worker in here.workers:
        checked = subprocess.run([sys.executable, *command[1:]], env=here.environment(worker), check=False)
        assert checked.returncode == 0
