"""One test an attack: foreign sites, rebound names, missing tokens, paths that climb."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from tests.web.airport import Site

TOKEN = "correct horse battery staple"
QUESTION = {"sql": "SELECT 1"}


@pytest.fixture
async def guarded(site: Site) -> AsyncIterator[ClientSession]:
    server = site.server(host="0.0.0.0", token=TOKEN, advertised="127.0.0.1")
    async with ClientSession(await server.start()) as session:
        yield session
    await server.stop()


async def status_of(client: ClientSession, path: str, **headers: str) -> int:
    async with client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()}) as response:
        return response.status


@pytest.mark.parametrize("path", ["/", "/static/css/app.css", "/api/tables", "/api/nope", "/health/live"])
async def test_every_answer_confines_the_browser(client: ClientSession, path: str) -> None:
    async with client.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_stream_is_confined_too(client: ClientSession) -> None:
    async with client.get("/api/tables/late_streak/changes") as response:
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("host", ["localhost", "localhost:6066", "127.0.0.1:1", "[::1]", "[::1]:80", "LOCALHOST"])
async def test_local_names_are_answered(client: ClientSession, host: str) -> None:
    assert await status_of(client, "/api/tables", Host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:6066",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::1",
        "",
        "a@localhost:b",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/tables", "/api/tables/late_streak/changes"])
async def test_a_rebound_name_is_refused(client: ClientSession, host: str, path: str) -> None:
    assert await status_of(client, path, Host=host) in (400, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_foreign_page_cannot_ask(client: ClientSession, site: Site, headers: dict[str, str]) -> None:
    async with client.post("/api/query", json=QUESTION, headers=headers) as response:
        assert response.status == 403
        assert "may not ask here" in (await response.json())["error"]
    assert site.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/tables", "/api/tables/late_streak/changes"])
async def test_a_foreign_page_cannot_read_or_hold_streams(
    client: ClientSession, site: Site, headers: dict[str, str], path: str
) -> None:
    async with client.get(path, headers=headers) as response:
        assert response.status == 403
    assert not site.tables.hub.wanted("late_streak")


@pytest.mark.parametrize("path", ["/", "/api/tables"])
async def test_a_link_on_another_site_leads_here(client: ClientSession, path: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with client.get(path, headers=headers) as response:
        assert response.status == 200
    async with client.post("/api/query", json=QUESTION, headers=headers) as response:
        assert response.status == 403


async def test_the_own_page_can_ask(client: ClientSession, site: Site) -> None:
    origin = f"{client._base_url}".rstrip("/")
    async with client.post("/api/query", json=QUESTION, headers={"Origin": origin}) as response:
        assert response.status == 200
    assert site.asked == ["SELECT 1"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"]
)
async def test_a_form_cannot_ask(client: ClientSession, site: Site, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    async with client.post("/api/query", data=b'{"sql": "SELECT 1"}', headers=headers) as response:
        assert response.status == 415
    assert site.asked == []


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ünïcode"],
)
@pytest.mark.parametrize("path", ["/api/tables", "/api/status", "/api/nope", "/api/tables/late_streak/changes"])
async def test_without_the_token_nothing_is_told(guarded: ClientSession, given: str | None, path: str) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with guarded.get(path, headers=headers) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in await response.text()


@pytest.mark.parametrize("path", ["/api%2Ftables", "/%61pi/tables", "//api/tables", "/static/../api/tables"])
async def test_no_other_spelling_of_a_path_avoids_the_token(guarded: ClientSession, path: str) -> None:
    answer = await raw(guarded, path)
    assert b"late_streak" not in answer
    assert answer.split(b" ")[1] in (b"401", b"404")


async def test_the_token_opens_under_any_host_name(guarded: ClientSession) -> None:
    assert await status_of(guarded, "/api/tables", Authorization=f"Bearer {TOKEN}", Host="worker-1.example") == 200
    assert await status_of(guarded, "/api/tables", Authorization=f"bearer {TOKEN}") == 200


async def test_a_token_in_the_url_is_not_taken(guarded: ClientSession) -> None:
    assert await status_of(guarded, "/api/tables?token=" + TOKEN.replace(" ", "%20")) == 401


@pytest.mark.parametrize("path", ["/", "/static/css/app.css", "/health/live", "/health/ready"])
async def test_the_empty_page_and_probes_need_no_token(guarded: ClientSession, path: str) -> None:
    assert await status_of(guarded, path) == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../base.py",
        "/static/%2e%2e/base.py",
        "/static/..%2fbase.py",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "/static//etc/passwd",
        "/static/..\\base.py",
        "/static/app.css%00.js",
        "/static/",
        "/static/js",
        "/../../../etc/passwd",
        "/etc/passwd",
    ],
)
async def test_no_path_leaves_the_static_files(client: ClientSession, path: str) -> None:
    answer = await raw(client, path)
    assert answer.split(b" ")[1] in (b"400", b"404")
    assert b"root:" not in answer
    assert b"import" not in answer


async def test_static_files_are_typed_and_asked_again(client: ClientSession) -> None:
    async with client.get("/static/css/app.css") as response:
        assert response.content_type == "text/css"
        assert response.headers["Cache-Control"] == "no-cache"
        tag = response.headers["ETag"]
    assert await status_of(client, "/static/css/app.css", If_None_Match=tag) == 304
    assert await status_of(client, "/static/css/app.css", If_None_Match='"other"') == 200


async def test_headers_past_all_measure_are_refused(client: ClientSession) -> None:
    assert (await raw(client, "/", b"X-Long: " + b"x" * 100_000)).split(b" ")[1] == b"400"


async def raw(client: ClientSession, path: str, header: bytes = b"X-Nothing: 1") -> bytes:
    """Send a path exactly as spelled, which no well-behaved client does."""
    assert client._base_url is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", client._base_url.port)
    writer.write(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%b\r\n\r\n" % (path.encode(), header))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer
