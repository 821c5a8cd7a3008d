"""Global tables of real workers: two at once, killed and started again; commands with a worker and without."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Run
from tests.cli.workers import DEADLINE, WorkerProcess

SHOP = """\
import flows

app = flows.App("shop", partitions=2)


class Rate(flows.Record):
    currency: str
    euros: float


class Order(flows.Record):
    user: str
    paid_in: str


changes = app.topic("changes", value=Rate, key="currency")
rates = app.global_table("rates", changes)
orders = app.topic("orders", value=Order, key="user")
priced = app.topic("priced", value=dict)
orders.join(rates, on="paid_in").to(priced)
"""
ALL = "SELECT currency, euros FROM rates ORDER BY 1"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., WorkerProcess]]:
    (folder / "shop.py").write_text(SHOP)
    started: list[WorkerProcess] = []

    def begin(*args: str) -> WorkerProcess:
        started.append(WorkerProcess(folder, *args))
        return started[-1]

    yield begin
    for worker in started:
        worker.close()


def rate(run: Run, currency: str, euros: float) -> None:
    assert run("send", "changes", json.dumps({"currency": currency, "euros": euros})).exit_code == 0


def asked(run: Run) -> dict[str, float]:
    shown = run("query", ALL, "--format", "json")
    assert shown.exit_code == 0, shown.output
    return {row["currency"]: row["euros"] for row in json.loads(shown.stdout)}


def told(address: str) -> dict[str, float]:
    with urlopen(f"{address}/api/tables/rates", timeout=DEADLINE) as answer:
        return {row["currency"]: row["euros"] for row in json.load(answer)["rows"]}


def until(get: Callable[[], dict[str, float]], wanted: dict[str, float]) -> None:
    deadline = monotonic() + DEADLINE
    while (found := get()) != wanted:
        assert monotonic() < deadline, found


def test_each_worker_has_all_of_it_and_commands_read_it(
    start: Callable[..., WorkerProcess], run: Run, folder: Path
) -> None:
    first = start()
    here = first.wait_for("the live page is at ").split(" at ")[1].strip()
    first.wait_for("holds 2 of 2 tasks")
    for n, currency in enumerate(("USD", "NOK", "GBP")):
        rate(run, currency, n + 1.0)
    second = start()
    there = second.wait_for("the live page is at ").split(" at ")[1].strip()
    second.wait_for("holds 1 of 2 tasks")
    wanted = {"USD": 1.0, "NOK": 2.0, "GBP": 3.0}
    for address in (here, there):
        until(lambda address=address: told(address), wanted)  # type: ignore[misc]
    (info,) = json.loads(run("tables", "--format", "json").stdout)
    assert (info["name"], info["kind"]) == ("rates", "global")
    until(lambda: asked(run), wanted)

    first.stop(signal.SIGKILL)
    rate(run, "USD", 9.0)
    until(lambda: told(there), wanted | {"USD": 9.0})
    assert second.stop() == 0
    assert asked(run) == wanted | {"USD": 9.0}
    (folder / "shop.py").unlink()
    assert asked(run) == wanted | {"USD": 9.0}


def test_it_comes_back_from_disk_and_from_the_topic(
    start: Callable[..., WorkerProcess], run: Run, folder: Path
) -> None:
    rate(run, "NOK", 2.0)
    for n in range(3):
        run("send", "orders", json.dumps({"user": f"u{n}", "paid_in": "NOK"}))
        worker = start("--drain")
        assert worker.process.wait(timeout=DEADLINE) == 0, worker.rest()
        shown = run("tail", "priced", "--from-beginning", "--limit", str(n + 1), "--format", "json")
        assert len(shown.stdout.splitlines()) == n + 1
        if n == 0:
            shown = run("reset", "--table", "rates", "--yes")
            assert shown.exit_code == 0, shown.output
            assert not list((folder / ".flows" / "shop" / "state").glob("global:rates/*/CURRENT"))
            assert asked(run) == {"NOK": 2.0}
        if n == 1:
            shutil.rmtree(folder / ".flows" / "shop" / "state")
