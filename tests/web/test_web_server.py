"""The server's start and stop, queries, status and health."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from flows.errors import FlowsError, UsageError
from flows.web import Limits
from tests.web.airport import NO_SUCH_COLUMN, Answered, Site


async def test_a_free_port_is_picked_and_given(site: Site) -> None:
    server = site.server(port=0)
    address = await server.start()
    assert address.startswith("http://127.0.0.1:")
    assert int(address.rpartition(":")[2]) > 0
    await server.stop()
    await server.stop()


async def test_localhost_is_one_address(site: Site) -> None:
    server = site.server(host="localhost")
    assert (await server.start()).startswith("http://127.0.0.1:")
    await server.stop()


async def test_a_taken_port_is_one_line_with_the_fix(site: Site) -> None:
    first = site.server()
    port = int((await first.start()).rpartition(":")[2])
    second = site.server(port=port)
    expected = re.escape(f"port {port} of 127.0.0.1 is taken; choose another with --web-port (0 picks a free one)")
    with pytest.raises(FlowsError, match=expected):
        await second.start()
    await second.stop()
    await first.stop()


async def test_an_address_of_another_machine_is_one_line(site: Site) -> None:
    with pytest.raises(FlowsError, match=r"port 0 of 192\.0\.2\.1 cannot be used: .*; check the address"):
        await site.server(host="192.0.2.1", token="long enough").start()


async def test_the_port_is_free_again_after_stop(site: Site) -> None:
    server = site.server()
    port = int((await server.start()).rpartition(":")[2])
    await server.stop()
    again = site.server(port=port)
    assert (await again.start()).endswith(f":{port}")
    await again.stop()


@pytest.mark.parametrize(
    ("host", "advertised", "known_as"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("0.0.0.0", None, socket.gethostname()),
        ("0.0.0.0", "worker-1.example.org", "worker-1.example.org"),
        ("127.0.0.1", "::1", "[::1]"),
    ],
)
async def test_its_address_is_one_that_others_can_go_to(
    site: Site, host: str, advertised: str | None, known_as: str
) -> None:
    server = site.server(host=host, token="a token", advertised=advertised)
    address = await server.start()
    await server.stop()
    assert re.fullmatch(rf"http://{re.escape(known_as)}:\d+", address)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.7", "example.org"])
def test_an_open_address_without_a_token_is_refused(site: Site, host: str) -> None:
    with pytest.raises(UsageError, match=r"bind to 127\.0\.0\.1, or give a token: FLOWS_WEB_TOKEN"):
        site.server(host=host)


@pytest.mark.parametrize("token", ["", "   "])
def test_an_empty_token_is_no_token(site: Site, token: str) -> None:
    with pytest.raises(UsageError, match="the web token is empty"):
        site.server(host="0.0.0.0", token=token)


async def test_status_is_what_the_worker_says(client: ClientSession, site: Site) -> None:
    async with client.get("/api/status") as response:
        told = await response.json()
        assert told.pop("advice")[0]["words"].startswith("All is well: 1 worker with 1 task")
        assert told == msgspec.json.decode(msgspec.json.encode(site.state))


async def test_health_tells_ready_only_when_restored(client: ClientSession, site: Site) -> None:
    async with client.get("/health/live") as response:
        assert (response.status, await response.json()) == (200, {"live": True})
    async with client.get("/health/ready") as response:
        assert (response.status, await response.json()) == (200, {"ready": True, "state": "running"})
    site.state = msgspec.structs.replace(site.state, ready=False, state="restoring 40 %")
    async with client.get("/health/ready") as response:
        assert (response.status, await response.json()) == (503, {"ready": False, "state": "restoring 40 %"})


async def ask(client: ClientSession, body: Any, **options: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", **options}
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    async with client.post("/api/query", data=data, headers=headers) as response:
        return response.status, await response.json()


async def test_a_query_is_answered_by_columns_and_rows(client: ClientSession, site: Site) -> None:
    site.answer = Answered(["key", "value"], [("JFK", 2), ("LGA", float("nan"))])
    status, answer = await ask(client, {"sql": "SELECT * FROM late_streak"})
    assert status == 200
    assert answer == {
        "columns": ["key", "value"],
        "rows": [["JFK", 2], ["LGA", None]],
        "truncated": False,
        "missing": [],
    }
    assert site.asked == ["SELECT * FROM late_streak"]


async def test_an_answer_is_cut_off_at_the_limit_and_says_so(site: Site) -> None:
    server = site.server(limits=Limits(rows=2))
    site.answer = Answered(["n"], [(1,), (2,), (3,)])
    async with ClientSession(await server.start()) as client:
        assert await ask(client, {"sql": "SELECT 1"}) == (
            200,
            {"columns": ["n"], "rows": [[1], [2]], "truncated": True, "missing": []},
        )
    await server.stop()


async def test_a_wrong_query_is_told_in_its_own_words(client: ClientSession, site: Site) -> None:
    site.answer = NO_SUCH_COLUMN
    assert await ask(client, {"sql": "SELECT n FROM late_streak"}) == (400, {"error": str(NO_SUCH_COLUMN)})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "expected"),
        (b"{", "expected"),
        (b"[]", "expected"),
        (b"\xff", "expected"),
        ({"sql": 1}, "Expected `str`, got `int` - at `$.sql`"),
        ({"query": "SELECT 1"}, "unknown field `query`"),
        ({"sql": "  "}, "the query is empty"),
        (b'{"sql":' * 5000, "expected"),
    ],
)
async def test_a_malformed_question_is_refused(client: ClientSession, site: Site, body: Any, words: str) -> None:
    status, answer = await ask(client, body)
    assert status == 400
    assert words in answer["error"]
    assert site.asked == []


async def test_a_body_past_the_limit_is_refused(client: ClientSession, site: Site) -> None:
    status, answer = await ask(client, {"sql": "x" * 70_000})
    assert status == 413
    assert answer["error"]
    assert site.asked == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
async def test_other_methods_are_refused_as_json(client: ClientSession, method: str) -> None:
    async with client.request(method, "/api/tables") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert await response.json() == {"error": "Method Not Allowed"}


async def test_it_stops_while_a_query_hangs(site: Site) -> None:
    asked = asyncio.Event()

    async def hangs(_sql: str) -> Answered:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    site.query = hangs  # type: ignore[method-assign,assignment]
    server = site.server()
    async with ClientSession(await server.start()) as client:
        question = asyncio.create_task(ask(client, {"sql": "SELECT 1"}))
        await asked.wait()
        async with asyncio.timeout(3):
            await server.stop()
        question.cancel()


def test_a_port_in_use_by_another_program_is_found() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(FlowsError, match="is taken"):
            asyncio.run(_start_on(port))


async def _start_on(port: int) -> None:
    await Site().server(port=port).start()
