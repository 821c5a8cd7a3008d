"""Questions and answers between agents: what a question carries in its headers, and what an agent answers.

| header | says |
|---|---|
| `flows-reply-to` | the topic for the answer |
| `flows-reply-partition` | its partition; without it the key chooses |
| `flows-correlation-id` | which question an answer belongs to |
| `flows-asked-by` | the sub-topologies whose tasks wait for the answer |
| `flows-error` | of an answer: why there is none |

An answer is an output like any other: part of the transaction of the task that gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from flows.brokers.base import Headers
from flows.errors import RecordTooLarge
from flows.operate.agent_input import AgentInput, Event

REPLY_TO, REPLY_PARTITION, CORRELATION = "flows-reply-to", "flows-reply-partition", "flows-correlation-id"
ASKED_BY, ERROR = "flows-asked-by", "flows-error"

Output = tuple[str, int, bytes | None, bytes | None, int, Headers]


class ReplyEncoder(Protocol):
    """Encodes answers for topics of the plan."""

    def answer(self, topic: str, value: Any, key: bytes | None, headers: dict[str, bytes]) -> Output | None:
        """Return an answer as a record; None for a topic that the plan does not have."""


def asked_by(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the sub-topologies that wait for what is in hand."""
    found = [value.decode() for event in events for name, value in event.headers if name == ASKED_BY]
    return tuple(dict.fromkeys(name for names in found for name in names.split(",")))


class Replies:
    """How the agents of a task write their answers."""

    def __init__(self, encoder: ReplyEncoder, max_bytes: int, now_ms: Callable[[], int]) -> None:
        self._encoder, self._max_bytes, self._now_ms = encoder, max_bytes, now_ms

    def answer(self, event: Event, value: Any) -> list[Output]:
        """Return the answer to a record; nothing where none is wanted."""
        return self._output(event, value, {})

    def done(self, event: Event) -> list[Output]:
        """Return the answer to a record for which nothing was yielded."""
        return self._output(event, None, {}) if _is_waited_for(dict(event.headers)) else []

    def refusal(self, event: Event, reason: str) -> list[Output]:
        """Return the answer to a record that was refused."""
        return self._output(event, None, {ERROR: reason.encode()}) if _is_waited_for(dict(event.headers)) else []

    def _output(self, event: Event, value: Any, more: dict[str, bytes]) -> list[Output]:
        asked = dict(event.headers)
        if REPLY_TO not in asked:
            return []
        topic, headers = asked[REPLY_TO].decode(), more
        if CORRELATION in asked:
            headers = {CORRELATION: asked[CORRELATION], **more}
        if not _is_waited_for(asked):
            found = self._encoder.answer(topic, value, event.raw[0], headers)
            return [] if found is None else [found]
        data = msgspec.json.encode(value)
        if len(data) > self._max_bytes:
            raise RecordTooLarge(f"an answer of {len(data)} bytes, more than {self._max_bytes}")
        # With the wall clock's time, since by that the topic forgets.
        return [(topic, int(asked[REPLY_PARTITION]), None, data, self._now_ms(), tuple(headers.items()))]


class Answers:
    """What one agent owes to those who asked for the records in its hands."""

    def __init__(self, replies: Replies, given: AgentInput) -> None:
        self._replies, self._input = replies, given
        self._answered = False

    def of(self, value: Any) -> list[Output]:
        """Return the answers that a yielded value gives. Of a list in hand each record gets it."""
        if not self._input.has_headers:
            return []
        first, self._answered = not self._answered, True
        held = self._input.held()
        if not first:  # who waits has its answer
            held = [event for event in held if not _is_waited_for(dict(event.headers))]
        return [output for event in held for output in self._replies.answer(event, value)]

    def finish(self) -> list[Output]:
        """Return the answers to what is done without a word."""
        answered, self._answered = self._answered, False
        if answered or not self._input.has_headers:
            return []
        return [output for event in self._input.held() for output in self._replies.done(event)]

    def forget(self) -> None:
        """Learn that what was yielded is taken back."""
        self._answered = False

    def refuse(self, held: Sequence[Event], reason: str) -> list[Output]:
        """Return the answers to records that are given up."""
        return [output for event in held if event.headers for output in self._replies.refusal(event, reason)]


def _is_waited_for(headers: dict[str, bytes]) -> bool:
    return REPLY_TO in headers and REPLY_PARTITION in headers
