"""`/api/topics`: the app's topics and their records."""

from __future__ import annotations

import math

from aiohttp import web

from flows.web.answers import answer, bad_request, not_found
from flows.web.api.parameters import LIMIT, limit_of
from flows.web.base import CONTEXT
from flows.web.endpoint import Endpoint, Parameter
from flows.web.topics import Filter, From, RecordsFound, TopicAbout, Topics, WholeRecord

TOPIC = Parameter(name="name", where="path", about="A topic of the app.")
PARTITION = Parameter(name="partition", about="Only this partition.", type=int)
PLACE = Parameter(name="from", about="newest (the default), oldest, or a time in seconds since the epoch.")
POSITIONS = Parameter(name="positions", about="Where to go on, as PARTITION:OFFSET with commas between.")
FILTERS = (
    Parameter(name="key", about="A text that the key contains."),
    Parameter(name="value", about="A text that the value contains."),
    Parameter(name="header", about="A text that a header contains, which is read as NAME: CONTENT."),
)

_DEFAULT, _MOST = 100, 1000
_LONGEST = 500
_MOST_PARTITIONS = 10_000


def endpoints() -> list[Endpoint]:
    """Return `GET /api/topics`, and below it `/NAME/records` and `/NAME/records/PARTITION/OFFSET`."""
    return [
        Endpoint(method="GET", path="/api/topics", handler=list_topics, answer=list[TopicAbout]),
        Endpoint(
            method="GET",
            path="/api/topics/{name}/records",
            handler=read_records,
            parameters=(TOPIC, PLACE, PARTITION, POSITIONS, LIMIT, *FILTERS),
            answer=RecordsFound,
        ),
        Endpoint(
            method="GET",
            path="/api/topics/{name}/records/{partition}/{offset}",
            handler=read_record,
            parameters=(
                TOPIC,
                Parameter(name="partition", where="path", about="Its partition.", type=int),
                Parameter(name="offset", where="path", about="Its offset.", type=int),
            ),
            answer=WholeRecord,
        ),
    ]


async def list_topics(request: web.Request) -> web.Response:
    """List the app's topics by name: those that it declares, and those that it keeps for itself."""
    return answer(await topics_of(request).list())


async def read_records(request: web.Request) -> web.Response:
    """Read records of a topic, by default the newest ones.

    Not all records are looked at, with filters neither: `scanned` tells how many were, and `next`, given back as
    `positions`, goes on from there. From the newest on that is towards what is yet to come.
    """
    topics, name = topics_of(request), await topic_name(request)
    limit = limit_of(request, _DEFAULT, _MOST)
    return answer(await topics.read(name, start_of(request), filter_of(request), limit))


async def read_record(request: web.Request) -> web.Response:
    """Read one record whole, with its bytes in base64."""
    topics, name = topics_of(request), await topic_name(request)
    partition, offset = (_number(request.match_info[part], part) for part in ("partition", "offset"))
    record = await topics.record(name, partition, offset)
    if record is None:
        raise not_found(f"there is no record {name}/{partition}@{offset}, or not any more")
    return answer(record)


def topics_of(request: web.Request) -> Topics:
    """Return who reads topics; raises 404 for a server without."""
    topics = request.app[CONTEXT].topics
    if topics is None:
        raise not_found("this server knows no topics")
    return topics


async def topic_name(request: web.Request) -> str:
    """Return the topic of the path; raises 404 with the names there are."""
    name = request.match_info["name"]
    known = [topic.name for topic in await topics_of(request).list()]
    if name not in known:
        raise not_found(f"there is no topic {name[:100]!r} of this app; topics: {', '.join(known[:50]) or 'none yet'}")
    return name


def start_of(request: web.Request) -> From:
    """Read `?from=`, `?partition=` and `?positions=`."""
    query = request.query
    partition = None if "partition" not in query else _number(query["partition"], "partition")
    if "positions" in query:
        if "from" in query or partition is not None:
            raise bad_request("positions say where to begin and in which partitions: leave out from and partition")
        return From(positions=positions_of(query["positions"]))
    place = query.get("from") or "newest"
    if place in ("newest", "oldest"):
        return From(place=place, partition=partition)
    try:
        time = float(place)
    except ValueError:
        time = math.nan
    if not 0 <= time < 1e11:
        raise bad_request(f"from is {place[:40]!r}; expected newest, oldest, or seconds since the epoch")
    return From(time=time, partition=partition)


def positions_of(text: str) -> dict[int, int]:
    """Read `0:12,1:40`."""
    found: dict[int, int] = {}
    for pair in text.split(",", _MOST_PARTITIONS):
        partition, _, offset = pair.partition(":")
        found[_number(partition, "positions")] = _number(offset, "positions")
    return found


def filter_of(request: web.Request) -> Filter:
    """Read `?key=`, `?value=` and `?header=`."""
    texts = {name: request.query.get(name) or None for name in ("key", "value", "header")}
    for name, text in texts.items():
        if text is not None and len(text) > _LONGEST:
            raise bad_request(f"{name} is {len(text)} characters long; at most {_LONGEST} are searched for")
    return Filter(**texts)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad_request(f"{name}: {text[:40]!r} is no whole number from 0 on")
    return int(text)
