"""`flows query` and `flows tables`: of a data folder, of the plan that it keeps, and of a running worker."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dsl.plan.explain import explain_json
from flows.brokers.registry import open_broker
from tests.cli.conftest import Run
from tests.query.airport_data import create_topics, dict_entries, log, plan

IN_A_ROW = "SELECT * FROM in_a_row ORDER BY key"
KEPT = [{"key": "EWR", "value": 5}, {"key": "JFK", "value": 2}]


def fill(data: Path) -> None:
    """Write what a worker of the app would have committed."""

    async def write() -> None:
        broker = open_broker(f"embedded://{data / 'broker'}")
        await broker.start()
        await create_topics(broker)
        await log(broker, "in_a_row", 0, dict_entries("in_a_row", {"JFK": 2}))
        await log(broker, "in_a_row", 1, dict_entries("in_a_row", {"EWR": 5}))
        await broker.close()

    asyncio.run(write())


@pytest.fixture
def data(folder: Path) -> Path:
    """A data folder with its plan, and no module."""
    data = folder / ".flows" / "airport"
    fill(data)
    (data / "plan.json").write_text(explain_json(plan()))
    return data


@pytest.mark.usefixtures("data")
def test_the_data_folder_answers_without_module_or_worker(run: Run) -> None:
    shown = run("query", IN_A_ROW, "--format", "json")
    assert json.loads(shown.stdout) == KEPT
    assert run("query", IN_A_ROW, "--format", "csv").stdout == "key,value\nEWR,5\nJFK,2\n"
    assert run("query", IN_A_ROW).stdout == "key  value\nEWR      5\nJFK      2\n"
    assert run("tables").stdout.split()[5:7] == ["delays", "declared"]


def test_the_app_answers_for_its_folder(airport: Path, run: Run) -> None:
    fill(airport / ".flows" / "airport")
    assert json.loads(run("query", IN_A_ROW, "--format", "json").stdout) == KEPT
    fill(airport / "elsewhere")
    shown = run("query", IN_A_ROW, "--format", "json", "--data", "elsewhere")
    assert json.loads(shown.stdout) == KEPT


FOLDED = """
import flows

app = flows.App("shop")


class Order(flows.Record):
    user: str
    amount: int


orders = app.topic("orders", value=Order, key="user")
orders.group_by("user").agg(last=flows.fold(list, lambda seen, order: [*seen, order.amount][-2:])).table("lately")
"""


def test_a_folder_with_a_table_of_folds_is_read_by_its_app(folder: Path, run: Run) -> None:
    (folder / "shop.py").write_text(FOLDED)
    for amount in (1, 2, 3):
        run("send", "orders", json.dumps({"user": "ann", "amount": amount}), "-A", "shop.py")
    run("worker", "-A", "shop.py", "--drain")
    shown = run("query", "SELECT * FROM lately", "-A", "shop.py", "--format", "json")
    assert json.loads(shown.stdout) == [{"user": "ann", "last": [2, 3]}]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM in_row", "there is no table 'in_row'; did you mean 'in_a_row'?"),
        ("SELECT valeu FROM in_a_row", "there is no column 'valeu'; did you mean 'value'?"),
        ("COPY in_a_row TO 'x.csv'", "only SELECT is allowed here, not COPY"),
    ],
)
@pytest.mark.usefixtures("data")
def test_a_wrong_query_is_one_line(run: Run, sql: str, words: str) -> None:
    shown = run("query", sql)
    assert shown.exit_code == 1
    assert words in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_several_data_folders_must_be_told_apart(data: Path, run: Run) -> None:
    other = data.parent / "other"
    other.mkdir()
    (other / "plan.json").write_text("{}")
    shown = run("query", IN_A_ROW)
    assert shown.exit_code == 2
    assert "several apps have data here: airport, other; choose one: --data .flows/airport" in shown.stderr
    assert "this is no plan of format" in run("query", IN_A_ROW, "--data", str(other)).stderr
    assert json.loads(run("query", IN_A_ROW, "--data", str(data), "--format", "json").stdout) == KEPT


class Page:
    """A worker's page: answers the API with what it is told, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.tokens: set[str | None] = set()
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.asked.append((self.path, None))
                self._answer()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                page.asked.append((self.path, json.loads(body)))
                self._answer()

            def _answer(self) -> None:
                page.tokens.add(self.headers["Authorization"])
                code, found = page.answers[self.path]
                body = json.dumps(found).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    thread = threading.Thread(target=page.server.serve_forever, args=(0.01,))
    thread.start()
    yield page
    page.server.shutdown()
    page.server.server_close()
    thread.join()


class Living:
    """Members of the app's group, kept alive by a loop of their own."""

    def __init__(self, data: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._broker = open_broker(f"embedded://{data / 'broker'}")
        self._do(self._broker.start())

    def join(self, name: str, address: str) -> None:
        self._do(self._broker.join("airport", name, {"departures/0": (), "departures/1": ()}, address=address))

    def close(self) -> None:
        self._do(self._broker.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


@pytest.fixture
def living(data: Path) -> Iterator[Living]:
    living = Living(data)
    yield living
    living.close()


def test_a_running_worker_is_asked(living: Living, page: Page, run: Run) -> None:
    living.join("one", page.address)
    page.answers["/api/query"] = (200, {"columns": ["key", "value"], "rows": [["LGA", 9]], "truncated": False})
    page.answers["/api/tables"] = (
        200,
        [{"name": "live", "kind": "dictionary", "columns": [["key", "str"]], "keys": ["key"], "partitions": [0]}],
    )
    shown = run("query", IN_A_ROW, "--format", "json")
    assert json.loads(shown.stdout) == [{"key": "LGA", "value": 9}]
    assert page.asked == [("/api/query", {"sql": IN_A_ROW})]
    assert run("tables").stdout.splitlines()[1].startswith("live   dictionary  key: str")


def test_the_worker_is_asked_with_the_token_of_the_settings(
    living: Living, page: Page, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWS_WEB_TOKEN", "open sesame")
    living.join("one", page.address)
    page.answers["/api/query"] = (200, {"columns": ["key"], "rows": [["LGA"]], "truncated": False})
    page.answers["/api/tables"] = (200, [])
    assert run("query", IN_A_ROW).exit_code == 0
    assert run("tables").exit_code == 0
    assert page.tokens == {"Bearer open sesame"}


def test_what_the_worker_says_is_wrong_is_told(living: Living, page: Page, run: Run) -> None:
    living.join("one", page.address)
    page.answers["/api/query"] = (400, {"error": "there is no table 'x'"})
    shown = run("query", "SELECT * FROM x")
    assert (shown.exit_code, shown.stderr) == (1, "Error: there is no table 'x'\n")


@pytest.mark.parametrize(
    "answer", [(401, {"error": "token"}), (503, {}), (200, {"columns": ["key"], "rows": [["cut"]], "truncated": True})]
)
def test_the_folder_answers_where_the_worker_does_not(
    living: Living, page: Page, run: Run, answer: tuple[int, Any]
) -> None:
    living.join("one", page.address)
    page.answers["/api/query"] = answer
    assert json.loads(run("query", IN_A_ROW, "--format", "json").stdout) == KEPT


def test_of_several_workers_one_that_answers_is_asked_for_all(living: Living, page: Page, run: Run) -> None:
    living.join("killed", "http://127.0.0.1:1")
    assert json.loads(run("query", IN_A_ROW, "--format", "json").stdout) == KEPT
    assert run("tables").exit_code == 0
    living.join("other", page.address)
    page.answers["/api/query"] = (200, {"columns": ["key", "value"], "rows": [["LGA", 9]], "truncated": False})
    assert json.loads(run("query", IN_A_ROW, "--format", "json").stdout) == [{"key": "LGA", "value": 9}]


def test_the_folder_answers_where_a_worker_lacks_some_rows(living: Living, page: Page, run: Run) -> None:
    living.join("one", page.address)
    lack = {"table": "in_a_row", "partition": 1, "worker": "two", "reason": "restoring"}
    page.answers["/api/query"] = (200, {"columns": ["key"], "rows": [], "truncated": False, "missing": [lack]})
    assert json.loads(run("query", IN_A_ROW, "--format", "json").stdout) == KEPT
