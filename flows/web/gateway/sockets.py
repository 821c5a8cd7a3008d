"""A WebSocket at `/topics/NAME`: messages with a sequence each, answered by the sequence that is there.

A client that names itself, `?client=ID`, is told at the beginning which of its sequences is the last that is there, and
goes on behind it: then each message is there once, over lost connections and gateways too (see `lane`). Messages:

    client: {"seq": 42, "value": {…}}       or "values": […]; with "key" and "timestamp" where they are wanted
    server: {"last": 41}                    first; null where no sequence is known
            {"ack": 42}                     the broker has all messages up to this one, but for those refused
            {"seq": 43, "error": "…"}       it was refused, with `errors` by place; of a named client's messages, those
                                            behind it are not looked at, and the socket is closed
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec
from aiohttp import WSMsgType, web

from flows.errors import FlowsError
from flows.web.answers import to_json
from flows.web.gateway.base import Events, IngestTopic, Refused
from flows.web.gateway.book import Look, Sequence, digest
from flows.web.gateway.gateway import GATEWAY, Gateway
from flows.web.gateway.posts import Told, count, made, milliseconds_of, refusal_of, topic_of, written
from flows.web.gateway.writers import Broken, Session

_HEARTBEAT = 20.0
_GOODBYE = 2.0
_LONGEST_CLIENT = 255
_PRIVATE = 4000
"""What a status of HTTP is added to, for the code that a socket is closed with."""
_CODES = {429: 1013, 503: 1013, 410: 1001}
"""Those that have a code of their own: try again later, and going away."""


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One message: the event `value`, or the events `values`, all or none."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    value: msgspec.Raw = msgspec.Raw()
    values: list[msgspec.Raw] | None = None
    key: str | None = None
    timestamp: float | str | None = None


class _Sent(NamedTuple):
    seq: int | None
    done: asyncio.Future[bool]
    records: int
    began: float


_decode = msgspec.json.Decoder(Message).decode


async def socket(request: web.Request) -> web.StreamResponse:
    """Take messages until the client has enough, or something went wrong."""
    gateway = request.app[GATEWAY]
    try:
        topic = topic_of(gateway, request.match_info["name"])
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise Refused(426, "POST events here, or connect by a WebSocket")
        client = _client_of(request)
        if len(gateway.sockets) >= gateway.limits.sockets:
            raise Refused(503, "there are too many WebSockets", retry_after=5)
    except Refused as refused:
        response = refused.response()
        if refused.status == 426:
            response.headers["Upgrade"] = "websocket"
        return response
    ws = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=gateway.limits.body, compress=False, timeout=_GOODBYE)
    await ws.prepare(request)
    ingest = _Ingest(gateway, topic, ws, request, client)
    gateway.sockets.add(ingest)
    try:
        await ingest.run()
    finally:
        gateway.sockets.discard(ingest)
    return ws


class _Ingest:
    """One socket. Two tasks: this reads, the other answers in the order of what was read."""

    def __init__(
        self, gateway: Gateway, topic: IngestTopic, ws: web.WebSocketResponse, request: web.Request, client: str | None
    ) -> None:
        self._gateway, self._topic, self._ws, self._request = gateway, topic, ws, request
        self._client = None if client is None else digest(b"client", topic.name.encode(), client.encode())
        self._session = Session()
        self._sent: deque[_Sent] = deque()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._newest = -1
        self._reading = True
        self._ending: Refused | None = None
        self._code: int | None = None

    async def run(self) -> None:
        """Read until the end, then answer what is on the way. Where this side ends it, close with the reason."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._topic.ready()
            if self._client is not None:
                await self._begin(self._client)
            reading = asyncio.create_task(self._read())
            tasks = [reading, asyncio.create_task(self._answer())]
            # It answers until all that was read has its answer, or until there is nobody to answer any more.
            await tasks[1]
            if reading.done():
                reading.result()
        except ConnectionResetError:
            return
        except (Refused, FlowsError) as error:
            refused = error if isinstance(error, Refused) else refusal_of(error, self._client is not None)
            await self._tell_end(refused, None)
        finally:
            self._leave()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._code is not None:  # by nobody who is still reading: aiohttp would hang up before the reason is sent
            await self._ws.close(code=self._code)

    def end(self, reason: Refused) -> None:
        """Write nothing more, tell the client why, and close."""
        self._session.broken = True
        self._ending = reason
        self._news.set()

    async def _begin(self, client: bytes) -> None:
        """Replace an older socket of the client, and tell which of its messages is the last that is there."""
        older = self._gateway.sessions.get(client)
        self._gateway.sessions[client] = self
        if older is not None:
            older.end(Refused(409, "the client connected again"))
        last = await written(self._gateway, self._gateway.submit(Events(), Look(client)), True)
        await self._send({"last": None if last < 0 else last})

    def _leave(self) -> None:
        sessions = self._gateway.sessions
        if self._client is not None and sessions.get(self._client) is self:
            del sessions[self._client]

    async def _read(self) -> None:
        try:
            await self._read_all()
        finally:
            self._reading = False
            self._news.set()

    async def _read_all(self) -> None:
        gateway = self._gateway
        async for message in self._ws:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            data = message.data.encode() if isinstance(message.data, str) else message.data
            # Not to read on is what slows a client down; nothing of it is lost.
            await gateway.budget.wait(len(data))
            while len(self._sent) >= gateway.limits.unanswered:
                self._room.clear()
                await self._room.wait()
            sent = self._taken(data)
            sent.done.add_done_callback(partial(self._settled, len(data)))
            self._sent.append(sent)
            if sent.seq is None or (self._client is not None and sent.done.done()):
                return

    def _taken(self, data: bytes) -> _Sent:
        """Submit a message's events; what does not fit has its answer at once, in its turn."""
        gateway, began = self._gateway, self._gateway.clock.now()
        seq: int | None = None
        try:
            message = self._message(data)
            seq = self._newest = message.seq
            events = self._events(message)
        except Refused as refused:
            done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            done.set_exception(refused)
            return _Sent(seq, done, 0, began)
        claim = None if self._client is None else Sequence(self._client, seq)
        return _Sent(seq, gateway.submit(events, claim, self._session), events.count, began)

    def _message(self, data: bytes) -> Message:
        try:
            message = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, f'expected {{"seq": 1, "value": …}}: {error}') from None
        if message.seq <= self._newest:
            raise Refused(400, f"sequence {message.seq} came after {self._newest}: they must grow")
        return message

    def _events(self, message: Message) -> Events:
        if bool(message.value) == (message.values is not None):
            raise Refused(422, "a message has a value, or values")
        values = [message.value] if message.values is None else message.values
        if len(values) > self._gateway.limits.rows:
            raise Refused(413, f"more than {self._gateway.limits.rows} events; send them in parts")
        told = Told(
            None if message.key is None else message.key.encode(errors="surrogatepass"),
            timestamp=None if message.timestamp is None else milliseconds_of(message.timestamp),
        )
        texts = [(place, _text(value) if self._topic.raw else value) for place, value in enumerate(values, 1)]
        events, errors = made(self._gateway, self._topic, texts, told)
        if errors:
            self._gateway.metrics.refused[self._topic.name] += len(errors)
            raise Refused(422, f"{len(errors)} of {len(texts)} events do not fit", errors=errors[:100])
        return events

    def _settled(self, size: int, done: asyncio.Future[bool]) -> None:
        self._gateway.budget.give(size)
        if not done.cancelled():
            done.exception()  # it is told by `_answer`, if anybody is left to be told
        self._news.set()

    async def _answer(self) -> None:
        """Tell what has become of each message, in their order; of many that are there, the last."""
        while self._reading or self._sent:
            self._news.clear()
            ack: int | None = None
            while self._sent and self._sent[0].done.done():
                sent = self._sent.popleft()
                error = sent.done.exception()
                self._note(sent, error)
                if error is None:
                    ack = sent.seq
                    continue
                if ack is not None:
                    await self._send({"ack": ack})
                    ack = None
                if not await self._tell(sent, error):
                    return
            self._room.set()
            if ack is not None:
                await self._send({"ack": ack})
            if self._ending is not None:
                await self._tell_end(self._ending, None)
                return
            if self._sent or self._reading:
                await self._news.wait()

    def _note(self, sent: _Sent, error: BaseException | None) -> None:
        metrics, name = self._gateway.metrics, self._topic.name
        status = 200 if error is None else error.status if isinstance(error, Refused) else 503
        metrics.requests[name, status] += 1
        if error is None:
            count(self._gateway, name, sent.records, sent.done.result(), 0)
            metrics.answered(sent.began, self._gateway.clock.now())

    async def _tell(self, sent: _Sent, error: BaseException) -> bool:
        """Tell of a message that was not written; return whether the socket goes on."""
        if isinstance(error, Refused):
            refused = error
        elif isinstance(error, FlowsError):
            refused = refusal_of(error, self._client is not None)
        elif isinstance(error, Broken):
            refused = Refused(503, "a message before it was not written", retry_after=1)
        else:
            raise error
        if sent.seq is not None and self._client is None and refused.status in (413, 422):
            await self._send({"seq": sent.seq, "error": refused.message, **refused.more})
            return True
        await self._tell_end(refused, sent.seq)
        return False

    async def _tell_end(self, refused: Refused, seq: int | None) -> None:
        """Say why, and choose the code to close with."""
        self._session.broken = True
        more = {} if refused.retry_after is None else {"retry_after": refused.retry_after}
        with contextlib.suppress(ConnectionResetError):
            await self._send({"seq": seq, "error": refused.message, **refused.more, **more})
        self._code = _CODES.get(refused.status, _PRIVATE + refused.status)

    async def _send(self, value: Any) -> None:
        """Send, to a client that takes it; the connection of one that does not is cut."""
        try:
            async with asyncio.timeout(self._gateway.limits.patience):
                await self._ws.send_str(to_json(value).decode())
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("the client takes no answers") from None


def _text(value: msgspec.Raw) -> bytes:
    """Return the bytes of a raw topic's value, which a message has as text."""
    try:
        return msgspec.json.decode(value, type=str).encode()
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Refused(422, f"the topic takes text: {error}") from None


def _client_of(request: web.Request) -> str | None:
    client = request.query.get("client")
    if client is None:
        return None
    if not 1 <= len(client) <= _LONGEST_CLIENT or not (client.isascii() and client.isprintable()):
        raise Refused(400, f"client must be 1 to {_LONGEST_CLIENT} printable ASCII characters")
    return client
