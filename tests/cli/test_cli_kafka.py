"""The commands on a Kafka cluster, as a person uses them: send, work, ask, tail, list, begin anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.workers import WorkerProcess
from tests.kafka.cluster import Cluster, unique

SHOP = """\
import flows

app = flows.App({app!r})


class Sale(flows.Record):
    item: str
    pieces: int


sales = app.topic({app!r} + "-sales", value=Sale, key="item", partitions=3)
by_item = sales.group_by("item").agg(pieces=flows.sum("pieces")).table("by_item")
receipts = app.topic({app!r} + "-receipts", value=dict)
seen = app.table("seen", key=str, value=int, default=int)


@app.agent(sales, sink=[receipts])
async def count(stream):
    async for sale in stream:
        seen[sale.item] += 1
        yield {{"item": sale.item, "nth": seen[sale.item]}}
"""

SALES = [("tea", 2), ("milk", 1), ("tea", 3), ("jam", 4)]
SUMS = [{"item": "jam", "pieces": 4}, {"item": "milk", "pieces": 1}, {"item": "tea", "pieces": 5}]
QUERY = ("query", "SELECT * FROM by_item ORDER BY item", "--format", "json")


class Shop:
    """An app on a cluster, in a working directory of its own."""

    def __init__(self, folder: Path, cluster: Cluster, run: Run) -> None:
        self.app = unique("shop")
        self.folder, self._run = folder, run
        self._place = ("--broker", cluster.url)
        self._workers: list[WorkerProcess] = []
        (folder / "shop.py").write_text(SHOP.format(app=self.app))

    def __call__(self, *args: str, stdin: str | None = None) -> str:
        """Run a command; return what it printed."""
        done = self._run(*args, *self._place, stdin=stdin)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    def sell(self) -> None:
        lines = "".join(json.dumps({"item": item, "pieces": pieces}) + "\n" for item, pieces in SALES)
        self("send", f"{self.app}-sales", "-", stdin=lines)

    def start(self, *args: str) -> WorkerProcess:
        self._workers.append(WorkerProcess(self.folder, *self._place, *args))
        return self._workers[-1]

    def drain(self) -> None:
        worker = self.start("--drain")
        assert worker.process.wait(60) == 0, worker.rest()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


@pytest.fixture
def shop(folder: Path, kafka: Cluster, run: Run) -> Iterator[Shop]:
    made = Shop(folder, kafka, run)
    yield made
    made.close()


def test_tables_are_asked_with_and_without_a_worker(shop: Shop) -> None:
    assert json.loads(shop(*QUERY)) == []
    shop.sell()
    shop.drain()
    assert json.loads(shop(*QUERY)) == SUMS
    # From nothing but the changelogs, which end in a marker each; and twice, since a question must not change a thing.
    for _ in range(2):
        assert json.loads(shop(*QUERY, "--data", "elsewhere")) == SUMS
        assert json.loads(shop(*QUERY)) == SUMS
    worker = shop.start()
    worker.wait_for("holds 3 of 3")
    assert json.loads(shop(*QUERY)) == SUMS
    assert "by_item" in shop("tables")
    assert worker.stop() == 0
    assert json.loads(shop(*QUERY)) == SUMS


def test_topics_are_tailed_and_listed(shop: Shop) -> None:
    shop.sell()
    shop.drain()
    receipts = shop("tail", f"{shop.app}-receipts", "--from-beginning", "--no-follow", "--json").splitlines()
    told = sorted((r["value"]["item"], r["value"]["nth"]) for r in map(json.loads, receipts))
    assert told == [("jam", 1), ("milk", 1), ("tea", 1), ("tea", 2)]
    assert len(shop("tail", f"{shop.app}-sales", "--from-beginning", "--limit", "2").splitlines()) == 2
    listed = {row["topic"]: row for row in json.loads(shop("topics", "--format", "json"))}
    assert listed[f"{shop.app}-sales"]["records"] >= 4  # each transaction ends in an offset of its own
    assert {row["kind"] for name, row in listed.items() if name.startswith(shop.app)} >= {"declared", "internal"}
    assert [row for row in listed.values() if row["differs"]] == []


def test_a_reset_begins_anew(shop: Shop) -> None:
    shop.sell()
    shop.drain()
    running = shop.start()
    running.wait_for("holds 3 of 3")
    refused = shop._run("reset", "--all", "--yes", *shop._place)
    assert refused.exit_code == 1
    assert "is running" in refused.stderr
    assert running.stop() == 0
    told = shop("reset", "--all", "--yes")
    assert f"topic {shop.app}-by_item-changelog" in told
    assert json.loads(shop(*QUERY)) == []
    shop.drain()
    assert json.loads(shop(*QUERY)) == SUMS
    shop("reset", "--table", "seen", "--yes")
    assert json.loads(shop("query", "SELECT * FROM seen", "--format", "json")) == []
    assert json.loads(shop(*QUERY)) == SUMS
