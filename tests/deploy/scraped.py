"""What a real worker answers to Prometheus once it has something of everything to tell."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.registry import open_broker
from flows.compile.names import topic_specs
from tests.cli.workers import WorkerProcess
from tests.deploy.rides import app

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
TOKEN = "tell-me-all"
DEADLINE = 60.0


class Scrape(NamedTuple):
    """Metrics by the names that PromQL knows, each with its type and labels; and where they came from."""

    address: str
    text: str
    metrics: dict[str, tuple[str, frozenset[str]]]


def ask(address: str, path: str, token: str | None = None, **headers: str) -> tuple[str, str]:
    """Return an answer's content type and text; raises `HTTPError`."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with urlopen(Request(address + path, headers=headers), timeout=DEADLINE) as response:
        return response.headers["Content-Type"], response.read().decode()


def families(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def described(found: Iterable[Metric]) -> dict[str, tuple[str, frozenset[str]]]:
    """Return (type, labels) of all metrics by their names in PromQL, a histogram by its own name."""
    metrics = {}
    for family in found:
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = frozenset(name for sample in family.samples for name in sample.labels) - {"le"}
        metrics[family.name + suffix] = (family.type, labels)
    return metrics


async def fill(data: Path) -> None:
    """Append rides: good ones, one that is late, one that is none."""
    broker = open_broker(f"embedded://{data / 'broker'}")
    await broker.start()
    for spec in topic_specs(app.plan()):
        await broker.create_topic(spec)
    out, now = Outgoing(), int(time.time() * 1000)
    for at in (1_700_000_000, 1_700_000_100, 1_700_000_000):
        out.append(b"Oslo", json.dumps({"city": "Oslo", "at": at}).encode(), now)
    out.append(b"Oslo", b"no ride", now)
    await broker.produce({TopicPartition("rides", 0): out})
    await broker.close()


def scrape(worker: WorkerProcess) -> Scrape:
    """Ask until the commit is told."""
    found = re.search(r"http://\S+", worker.wait_for("the live page is at"))
    assert found is not None
    deadline = time.monotonic() + DEADLINE
    while True:
        _, text = ask(found[0], "/metrics", TOKEN, Accept=OPENMETRICS)
        if 'flows_latency_seconds_count{topic="rides"} 4' in text:
            return Scrape(found[0], text, described(families(text)))
        assert time.monotonic() < deadline, text
        assert worker.process.poll() is None, worker.rest()
