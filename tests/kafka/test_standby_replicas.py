"""Standby replicas on a real broker: after a worker's death the other goes on with what it kept warm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.workers import WorkerProcess
from tests.kafka.cluster import Cluster, unique

PAGES = 500
MODULE = """\
import flows

app = flows.App("{name}", partitions=4)
visits = app.topic("{name}-visits", value=str)
counts = app.table("counts", key=str, value=int, default=int)


@app.agent(visits)
async def count(stream):
    async for page in stream:
        counts[page] += 1
"""


class Site:
    """An app in a folder, and its workers, each with a data folder of its own as on a machine of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.name = folder, url, unique("site")
        (folder / "site.py").write_text(MODULE.format(name=self.name))
        self.workers: list[WorkerProcess] = []

    def start(self) -> WorkerProcess:
        data = f"data-{len(self.workers)}"
        more = ["--set", "standby_replicas=1", "--set", "lease=6s"]
        worker = WorkerProcess(self.folder, "--broker", self.url, "--data", data, *more)
        self.workers.append(worker)
        worker.address = worker.wait_for("the live page is at").split()[-1]
        return worker

    def send(self, pages: list[str]) -> None:
        lines = "".join(f"{json.dumps(page)}\n" for page in pages)
        command = [sys.executable, "-m", "flows", "send", "--broker", self.url, f"{self.name}-visits", "-"]
        subprocess.run(command, cwd=self.folder, input=lines, text=True, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def site(tmp_path: Path, kafka: Cluster) -> Iterator[Site]:
    site = Site(tmp_path, kafka.url)
    yield site
    for worker in site.workers:
        worker.close()


def get(worker: WorkerProcess, path: str) -> Any:
    with urllib.request.urlopen(worker.address + path, timeout=30) as answer:
        return json.load(answer)


def counted(worker: WorkerProcess) -> int:
    found = get(worker, "/api/tables/counts?limit=1000")
    return 0 if found["missing"] else sum(row["value"] for row in found["rows"])


@pytest.mark.crash
def test_a_killed_workers_tasks_need_no_restore(site: Site) -> None:
    pages = [f"/{n}" for n in range(PAGES)]
    first = site.start()
    first.wait_for("holds 4 of 4 tasks")
    site.send(pages)
    while counted(first) != PAGES:
        assert first.process.poll() is None
    second = site.start()
    # Two of the tasks follow once their state is there; of the two others a copy is kept.
    for _ in range(4):
        second.wait_for("is complete")
    second.wait_for("holds 2 of 4 tasks")
    for _ in range(2):
        first.wait_for("is complete")
    site.send(pages)
    while counted(second) != 2 * PAGES:
        assert second.process.poll() is None
    first.process.send_signal(signal.SIGKILL)
    second.wait_for("holds 4 of 4 tasks")
    while counted(second) != 2 * PAGES:
        assert second.process.poll() is None
    restored = {task["id"]: task["total"] for task in get(second, "/api/status")["tasks"]}
    assert len(restored) == 4
    assert sum(restored.values()) < PAGES / 10, "the copies were half a second behind at most"
    assert second.stop() == 0
