"""What the gateway can be asked, in a worker's server and in its own."""

from __future__ import annotations

import msgspec

from flows.web.endpoint import Endpoint, Media, Parameter
from flows.web.gateway.body import KINDS
from flows.web.gateway.posts import post
from flows.web.gateway.sockets import socket

_TOPIC = Parameter(name="name", where="path", about="A topic that takes events from outside.")
_KEY = "The message key; by default the topic's declared key field has it."
_TIMESTAMP = "Seconds since the epoch, or ISO 8601; now by default."
_EVENTS = Media(
    tuple(KINDS),
    "One event, an array of them, or one in each line; gzip by Content-Encoding.",
)


class EventError(msgspec.Struct, frozen=True):
    """An event that does not fit, by its line or place."""

    line: int
    error: str


class Written(msgspec.Struct, frozen=True):
    """What the broker has; `duplicate` says that it had it before, `refused` and `errors` what was skipped."""

    topic: str
    records: int
    duplicate: bool
    refused: int = 0
    errors: list[EventError] = []


class Unfit(msgspec.Struct, frozen=True):
    """Why nothing was written."""

    error: str
    errors: list[EventError] = []


def endpoints() -> list[Endpoint]:
    """Return `POST /topics/NAME`, and `GET` there for WebSockets. Both check their parameters themselves."""
    return [
        Endpoint(
            method="POST",
            path="/topics/{name}",
            handler=post,
            parameters=(
                _TOPIC,
                Parameter(name="Flows-Key", where="header", about=_KEY),
                Parameter(name="key", about=_KEY),
                Parameter(name="key_field", about="The field that has the message key."),
                Parameter(name="Flows-Timestamp", where="header", about=_TIMESTAMP),
                Parameter(name="timestamp", about=_TIMESTAMP),
                Parameter(name="timestamp_field", about="The field that has the timestamp."),
                Parameter(name="on_error", about="skip writes what fits, reject (the default) nothing."),
                Parameter(name="Idempotency-Key", where="header", about="Sent again under it, events are there once."),
            ),
            body=_EVENTS,
            answer=Written,
            others={422: Unfit},
            any_query=True,
        ),
        Endpoint(
            method="GET",
            path="/topics/{name}",
            handler=socket,
            parameters=(_TOPIC, Parameter(name="client", about="A name under which each message is there once.")),
            answer=Media((), "A WebSocket: messages with a sequence each, and their acknowledgements."),
            any_query=True,
            streams=True,
        ),
    ]
