"""`/api/dead-letters`: what was refused and why, and its way back to where it came from."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web

from flows.errors import Fenced, OutcomeUnknown
from flows.web.answers import answer, bad_request, refusal
from flows.web.api.parameters import LIMIT, body_of, limit_of
from flows.web.api.topics import topics_of
from flows.web.endpoint import Endpoint, Parameter
from flows.web.topics import LetterFilter, LettersFound, Redriven

_DEFAULT, _MOST = 100, 1000
_LONGEST = 500
_EXPECTED = '{"offsets": [12, 13]} or {"all": true, "until": 14}'

Offset = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class Redrive(msgspec.Struct, forbid_unknown_fields=True):
    """Which dead letters to drive again: those at `offsets`; or all below `until`, of a step, a topic, a reason."""

    offsets: Annotated[list[Offset], msgspec.Meta(max_length=_MOST)] = []
    all: bool = False
    until: Offset | None = None
    step: str | None = None
    topic: str | None = None
    reason: str | None = None


def endpoints() -> list[Endpoint]:
    """Return `GET /api/dead-letters` and `POST /api/dead-letters/redrive`."""
    return [
        Endpoint(
            method="GET",
            path="/api/dead-letters",
            handler=list_dead_letters,
            parameters=(
                LIMIT,
                Parameter(name="before", about="Only those below this offset.", type=int),
                Parameter(name="step", about="Only those that this step refused."),
                Parameter(name="topic", about="Only those of this topic."),
                Parameter(name="reason", about="A text that the reason contains."),
                Parameter(name="waiting", about="1: only those that were not yet driven again.", type=int),
            ),
            answer=LettersFound,
        ),
        Endpoint(
            method="POST",
            path="/api/dead-letters/redrive",
            handler=redrive,
            body=Redrive,
            answer=Redriven,
        ),
    ]


async def list_dead_letters(request: web.Request) -> web.Response:
    """List dead letters, newest first.

    Not all are looked at, with filters neither: `before`, given back, goes on towards older ones.
    """
    query = request.query
    texts = {name: query.get(name) or None for name in ("step", "topic", "reason")}
    if any(text is not None and len(text) > _LONGEST for text in texts.values()):
        raise bad_request(f"step, topic and reason have at most {_LONGEST} characters")
    before = query.get("before")
    if before is not None and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise bad_request(f"before is {before[:40]!r}; expected an offset")
    wanted = LetterFilter(**texts, waiting=query.get("waiting") == "1")
    limit = limit_of(request, _DEFAULT, _MOST)
    return answer(await topics_of(request).letters(wanted, None if before is None else int(before), limit))


async def redrive(request: web.Request) -> web.Response:
    """Write the original records of dead letters to their topics again, once each.

    A letter that was driven again is passed over, whoever did it; one that cannot go back is in `left`, with the
    reason. What is refused anew is another dead letter.
    """
    asked: Redrive = await body_of(request, Redrive, _EXPECTED)
    topics = topics_of(request)
    if asked.all == bool(asked.offsets) or (asked.all and asked.until is None):
        raise bad_request(f"expected {_EXPECTED}")
    try:
        if asked.all:
            wanted = LetterFilter(step=asked.step, topic=asked.topic, reason=asked.reason)
            return answer(await topics.redrive_all(wanted, asked.until or 0))
        return answer(await topics.redrive(asked.offsets))
    except Fenced:
        return refusal(409, "another worker drives dead letters now; look what is left, and ask again")
    except OutcomeUnknown as error:
        return refusal(503, f"{error}; ask again: each letter goes back once", {"Retry-After": "1"})
