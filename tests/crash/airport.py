"""An app with one of everything that a commit carries, and what must be there after its history, however often it died.

Declared tables (keyed by the topic, behind a repartition, waiting for their windows' end), an agent that counts, fails
and yields, one that takes pairs, a table's changes and late records in topics.
"""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import flows
from flows import count, last, sum, tumbling
from flows.testing import Driver
from tests.oracle.tables import Sent, TableOracle
from tests.oracle.windows import Windows

SECOND = 1_000_000


class Flight(flows.Record):
    origin: str
    carrier: str
    delay: int
    at: float


class Airport:
    """The app and its parts."""

    def __init__(self) -> None:
        self.app = app = flows.App("airport")
        self.flights = app.topic("flights", value=Flight, key="origin", timestamp="at", partitions=2)
        self.alerts = app.topic("alerts", value=dict)
        self.pairs = app.topic("pairs", value=dict)
        self.closed = app.topic("closed", value=dict)
        self.by_origin = (
            self.flights.window(tumbling("10s", grace="5s"))
            .agg(flights=count(), delay=sum("delay"), last=last("carrier"))
            .table("by_origin")
        )
        self.by_carrier = (
            self.flights.group_by("carrier", partitions=2)
            .window(tumbling("10s", grace="1000s", retention="2000s"))
            .agg(flights=count(), delay=sum("delay"))
            .table("by_carrier")
        )
        waiting = self.flights.window(tumbling("10s", grace="5s", emit="close")).agg(flights=count())
        self.waiting = waiting.table("waiting").to(self.closed)
        self.streaks = app.table("streaks", value=list[int], default=list)
        self._agents()

    def _agents(self) -> None:
        streaks, pairs = self.streaks, self.pairs

        @self.app.agent(self.flights, sink=[self.alerts], retries=1)
        async def watch(stream):
            async for flight in stream:
                streaks[flight.origin].append(flight.delay)
                yield {"origin": flight.origin, "seen": len(streaks[flight.origin])}
                if flight.delay == 13:
                    raise ValueError("unlucky")

        @self.app.agent(self.flights)
        async def pair(stream):
            async for two in stream.take(2):
                await pairs.send({"pair": [f.delay for f in two], "origin": two[0].origin})


def history(length: int = 24) -> list[Flight]:
    """Make flights with ties, disorder, late ones, and an unlucky one."""
    flights = []
    for n in range(length):
        at = 100.0 + n * 2 - (40 if n % 7 == 6 else 9 if n % 3 == 2 else 0)
        flights.append(Flight("EWR" if n % 3 else "JFK", "UA" if n % 2 else "AA", 13 if n == 10 else n, at))
    return flights


PARTITION = {"EWR": 0, "JFK": 1}


def send(t: Driver, airport: Airport, flights: list[Flight]) -> None:
    """Send flights as one batch."""
    with t.batch():
        for flight in flights:
            t.send(airport.flights, flight, partition=PARTITION[flight.origin])


def check(t: Driver, airport: Airport, flights: list[Flight]) -> None:
    """Compare every table and every topic with what a single look at the whole history gives."""
    _check_tables(t, airport, flights)
    _check_agents(t, airport, flights)


def _check_tables(t: Driver, airport: Airport, flights: list[Flight]) -> None:
    numbers: dict[str, Callable[..., Any]] = {
        "flights": len,
        "delay": lambda events: builtins.sum(e.values["delay"] for e in events),
        "last": lambda events: max(events, key=lambda e: (e.time, e.offset)).values["carrier"],
    }
    size = 10 * SECOND
    shapes = [
        (airport.by_origin, "origin", Windows(size, size, 5 * SECOND), ["flights", "delay", "last"]),
        (airport.by_carrier, "carrier", Windows(size, size, 1000 * SECOND), ["flights", "delay"]),
        (airport.waiting, "origin", Windows(size, size, 5 * SECOND, closes=True), ["flights"]),
    ]
    for table, key, windows, names in shapes:
        oracle = TableOracle([key], windows, {n: numbers[n] for n in names})
        for f in flights:
            fields = {"origin": f.origin, "carrier": f.carrier, "delay": f.delay, "at": f.at}
            oracle.add(Sent(PARTITION[f.origin], round(f.at * SECOND), fields))
        expected = {(g.key[0], (g.window or 0) / SECOND): row for g, row in oracle.rows().items()}
        found = {(r[key], r["window_start"]): {n: r[n] for n in names} for r in t.table(table).rows()}
        assert found == expected
        late = sorted((r.value["delay"], r.timestamp) for r in t.late(table))
        assert late == sorted((r.fields["delay"], r.time / SECOND) for r in oracle.late)
        if table is airport.waiting:
            told = sorted(
                (r.value["origin"], r.value["window_start"], r.value["flights"]) for r in every(t, airport.closed)
            )
            assert told == sorted((*place, row["flights"]) for place, row in expected.items())


def _check_agents(t: Driver, airport: Airport, flights: list[Flight]) -> None:
    lucky: dict[str, list[int]] = defaultdict(list)
    for f in flights:
        if f.delay != 13:
            lucky[f.origin].append(f.delay)
    assert {r["key"]: r["value"] for r in t.table(airport.streaks).rows()} == lucky
    alerts = [(r.value["origin"], r.value["seen"]) for r in every(t, airport.alerts)]
    assert sorted(alerts) == sorted((o, n + 1) for o, delays in lucky.items() for n in range(len(delays)))
    dead = t.dead_letters()
    assert [d.step for d in dead] == ["watch"] * len([f for f in flights if f.delay == 13])
    pairs: dict[str, list[list[int]]] = defaultdict(list)
    for r in every(t, airport.pairs):
        pairs[r.value["origin"]].append(r.value["pair"])
    for origin in PARTITION:
        delays = [f.delay for f in flights if f.origin == origin]
        assert pairs[origin] == [delays[i : i + 2] for i in range(0, len(delays) - 1, 2)]


def every(t: Driver, topic: flows.Topic) -> list[Any]:
    """Return all records of a topic, by a second reading."""
    return t._reader(topic.name).all()
