"""What a worker takes from its peers: bounded, from where the group says, and never along a redirect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from flows.brokers.base import Member
from flows.query import peers as peers_module
from flows.query.base import SIGNATURE, Missing, Part
from flows.query.entries import NotEntries, pack, unpack
from flows.query.members import Members
from flows.query.peers import PeerError, Peers, base_url
from flows.query.spread import spread

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LACK = Missing(table="t", partition=2, worker="w", reason="restoring")


class Other:
    """A server in a peer's place, which answers as a test says and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: Handler = self._json
        self.id = "them"

    async def _json(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"n": 1})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answer(request)

    async def _sign(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers[SIGNATURE] = self.id

    async def start(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(self._sign)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"


@pytest.fixture
async def other() -> AsyncIterator[Other]:
    other = Other()
    other.address = await other.start()  # type: ignore[attr-defined]
    yield other
    await other.runner.cleanup()


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    peers = Peers("plan-1", token="a secret")
    yield peers
    await peers.close()


def member(other: Other) -> Member:
    return Member(id="them", address=other.address, plan="plan-1", tasks=("t/0",))  # type: ignore[attr-defined]


async def ask(peers: Peers, member: Member) -> object:
    return await peers.json(member, "/api/status", {"scope": "local"}, dict[str, int])


async def test_the_token_is_in_a_header_and_in_no_address(peers: Peers, other: Other) -> None:
    assert await ask(peers, member(other)) == {"n": 1}
    (request,) = other.asked
    assert request.headers["Authorization"] == "Bearer a secret"
    assert "secret" not in str(request.url)
    assert request.path_qs == "/api/status?scope=local"


async def test_a_redirect_is_not_followed(peers: Peers, other: Other) -> None:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/elsewhere")

    other.answer = redirect
    with pytest.raises(PeerError, match="answers 302"):
        await ask(peers, member(other))
    assert [request.path for request in other.asked] == ["/api/status"]


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "//127.0.0.1:80",
        "127.0.0.1:80",
        "http://",
        "http://user:word@127.0.0.1",
        "http://127.0.0.1:80/api/query?x=",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://127.0.0.1:80/#x",
    ],
)
async def test_an_address_that_is_none_is_not_asked(peers: Peers, address: str) -> None:
    with pytest.raises(PeerError, match="an address that is none of a worker"):
        await ask(peers, Member(id="them", address=address, plan="plan-1"))


def test_plain_addresses_are_taken() -> None:
    assert base_url("http://127.0.0.1:6066") == "http://127.0.0.1:6066"
    assert base_url("https://[::1]:6066/") == "https://[::1]:6066"


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    peers: Peers, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    other.answer = endless
    monkeypatch.setattr(peers_module, "_MOST_JSON", 1 << 20)
    with pytest.raises(PeerError, match="answers more than 1 MiB"):
        await ask(peers, member(other))
    with pytest.raises(PeerError, match="sends an event of more than 1 MiB"):
        [event async for event in peers.events(member(other), "/changes", {})]


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "the web token must be the same for all"), (403, "the web token"), (500, "answers 500"), (404, "404")],
)
async def test_a_refusal_is_told(peers: Peers, other: Other, status: int, words: str) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    other.answer = refuse
    with pytest.raises(PeerError, match=words):
        await ask(peers, member(other))


async def test_what_is_no_answer_is_told(peers: Peers, other: Other) -> None:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    other.answer = page
    with pytest.raises(PeerError, match="answers what is not understood"):
        await ask(peers, member(other))


async def test_one_that_cannot_be_asked_is_not_asked(peers: Peers, other: Other) -> None:
    with pytest.raises(PeerError, match="serves no page"):
        await ask(peers, Member(id="them", plan="plan-1"))
    with pytest.raises(PeerError, match="another version of the app"):
        await ask(peers, Member(id="them", address=member(other).address, plan="plan-2"))
    assert other.asked == []


async def test_another_at_its_address_is_not_taken_for_it(peers: Peers, other: Other) -> None:
    other.id = "somebody"
    with pytest.raises(PeerError, match="is not at its address; another answers there"):
        await ask(peers, member(other))


async def test_one_that_hangs_is_waited_for_once(peers: Peers, other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    released = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response({})

    other.answer = hang
    monkeypatch.setattr(peers_module, "_SILENCE", 0.05)
    for _ in range(3):
        with pytest.raises(PeerError, match="does not answer in time"):
            await ask(peers, member(other))
    released.set()
    assert len(other.asked) == 1


async def test_one_that_is_long_in_reading_is_waited_for(
    peers: Peers, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.3)  # longer than the head may take
        await response.write(b'{"n": 2}')
        return response

    other.answer = slow
    monkeypatch.setattr(peers_module, "_SILENCE", 0.2)
    assert await ask(peers, member(other)) == {"n": 2}


async def test_a_dead_one_is_not_tried_again_at_once(peers: Peers, other: Other) -> None:
    dead = member(other)
    await other.runner.cleanup()
    for _ in range(2):
        with pytest.raises(PeerError, match="does not answer"):
            await ask(peers, dead)
    assert list(peers._avoided) == ["them"]


def test_entries_come_out_as_they_went_in() -> None:
    part = Part([(b"\x00\xff" * n, bytes(n)) for n in range(700)], [LACK])
    assert unpack(pack(part)) == part
    assert unpack(pack(Part([], []))) == Part([], [])


@pytest.mark.parametrize("count", [1, 100, 70_000])
def test_a_cut_stream_of_entries_is_refused(count: int) -> None:
    whole = Part([(b"k%d" % n, b"v") for n in range(count)], [LACK])
    packed = pack(whole)
    for cut in {*range(0, len(packed) - 8, max(1, len(packed) // 50)), len(packed) - 9}:
        with pytest.raises(NotEntries):
            unpack(packed[:cut])
    # The last eight bytes say that there is no more; the rows are all there before.
    assert unpack(packed[:-8]) == whole


async def test_a_partition_that_moved_is_asked_of_its_new_holder() -> None:
    views = [[Member(id="a", tasks=("t/0", "t/1"))], [Member(id="a", tasks=("t/0",)), Member(id="b", tasks=("t/1",))]]

    async def look() -> list[Member]:
        return views.pop(0) if len(views) > 1 else views[0]

    async def answer(member: Member, partitions: tuple[int, ...]) -> tuple[tuple[str, tuple[int, ...]], list[Missing]]:
        gone = [Missing(table="t", partition=1, worker="a", reason="is about to be started")]
        return (member.id, partitions), gone if member.id == "a" and 1 in partitions else []

    missing: list[Missing] = []
    found = await spread(Members(look, "me"), "t", ("t/0", "t/1"), answer, missing)
    assert found == [("a", (0, 1)), ("b", (1,))]
    assert missing == []


async def test_what_nobody_holds_is_missing() -> None:
    async def look() -> list[Member]:
        return [Member(id="a", tasks=("t/1",))]

    async def fail(_member: Member, _partitions: tuple[int, ...]) -> tuple[None, list[Missing]]:
        raise PeerError("does not answer")

    missing: list[Missing] = []
    assert await spread(Members(look, "me"), "t", ("t/0", "t/1"), fail, missing) == []
    assert [(m.partition, m.worker, m.reason) for m in missing] == [
        (0, None, "no worker has taken it over yet"),
        (1, "a", "does not answer"),
    ]
