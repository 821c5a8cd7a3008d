"""Pages that an app declares: what they answer, and that the worker's door guards them too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

import flows
from flows import DeclarationError
from flows.run.worker import Worker
from flows.settings import Settings


@asynccontextmanager
async def running(tmp_path: Path, token: str | None = None) -> AsyncIterator[tuple[str, ClientSession]]:
    """Run a worker of an app with pages."""
    app = flows.App("pages")
    numbers, notes = app.topic("numbers", value=dict), app.topic("notes", value=dict)
    served = asyncio.Event()
    app.on_ready.connect(served.set)

    @app.agent(numbers)
    async def double(stream):
        async for value in stream:
            if "slow" in value:
                await asyncio.sleep(0.5)
            yield 2 * value["n"]

    @app.page("/double/{n}")
    async def ask(request):
        return {"answer": await double.ask({"n": int(request.match_info["n"])})}

    @app.page("/slow")
    async def slow(request):
        return await double.ask({"slow": True, "n": 1}, timeout=0.01)

    @app.page("/note", methods=["POST"])
    async def note(request):
        await notes.send(await request.json())
        return web.Response(status=202)

    @app.page("/text", methods=["GET", "POST"])
    async def text(request):
        return request.method

    @app.page("/fails")
    async def fails(request):
        raise ValueError("a secret")

    token_file = None
    if token is not None:
        token_file = tmp_path / "token"
        token_file.write_text(token)
    worker = Worker(app, Settings(data=tmp_path / "data", web_port=0, web_token_file=token_file))
    run = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(60), ClientSession() as client:
            await asyncio.wait({run, asyncio.create_task(served.wait())}, return_when=asyncio.FIRST_COMPLETED)
            yield worker.address, client
    finally:
        worker.stop()
        await run


async def test_what_pages_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, client):
        async with client.get(f"{address}/double/21") as found:
            assert (found.status, await found.json()) == (200, {"answer": 42})
        async with client.post(f"{address}/note", json={"n": 1}) as found:
            assert found.status == 202
        async with client.get(f"{address}/note") as found:
            assert (found.status, found.headers["Allow"]) == (405, "POST")
        async with client.post(f"{address}/text") as found:
            assert (await found.text(), found.content_type) == ("POST", "text/plain")
        async with client.get(f"{address}/slow") as found:
            assert found.status == 504
            assert "has not answered within 0.01 s" in (await found.json())["error"]
        async with client.get(f"{address}/fails") as found:
            assert (found.status, await found.json()) == (
                500,
                {"error": "the worker could not answer; its log says why"},
            )


async def test_the_door_guards_them(tmp_path: Path) -> None:
    async with running(tmp_path, token="open sesame") as (address, client):
        async with client.get(f"{address}/text") as found:
            assert found.status == 401
        async with client.get(f"{address}/text", headers={"Authorization": "Bearer open sesame"}) as found:
            assert found.status == 200
        other = {"Authorization": "Bearer open sesame", "Origin": "http://elsewhere"}
        async with client.post(f"{address}/note", json={}, headers=other) as found:
            assert found.status == 403


@pytest.mark.parametrize("path", ["totals", "/", "/api/totals", "/metrics", "/static/x"])
def test_where_no_page_can_be(path: str) -> None:
    with pytest.raises(DeclarationError, match="a page cannot be at"):
        flows.App("a").page(path)
