"""An app of steps that stand behind others, each with state of its own: what it shows must not tell of deaths.

Joins of streams and of tables, look-ups, a foreign key, rows of tables grouped anew, changes of all kinds, sessions,
merged streams, repetitions, windows of dictionary tables, timers of keys, windows by the clock, a global table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import flows
from flows import col, count, last, max, session, sum, tumbling
from flows.testing import Driver

SHIPS = ("a", "b", "c", "d")
PORTS = ("Oslo", "Rome", "Cork")


class Move(flows.Record):
    ship: str
    port: str
    tons: int
    at: float


class Ship(flows.Record):
    ship: str
    owner: str
    built: float


class Port(flows.Record):
    port: str
    country: str


class Harbour:
    """The app and its parts. `told` are topics of what comes once, `tables` what is to be there in the end."""

    def __init__(self) -> None:
        self.app = app = flows.App("harbour", partitions=2)
        same: dict[str, Any] = {"key": "ship", "partitioned_by": "murmur2"}
        self.moves = app.topic("moves", value=Move, timestamp="at", **same)
        self.calls = app.topic("calls", value=Move, timestamp="at", **same)
        self.ships = app.topic("ships", value=Ship, timestamp="built", **same)
        self.ports = app.topic("ports", value=Port, key="port", retention=None)
        self.told: list[flows.Topic] = []
        self.tables: list[flows.Table | flows.DictTable] = []
        self._joins()
        self._behind()
        self._agents()

    def _tell(self, stream: flows.Stream, name: str) -> None:
        self.told.append(self.app.topic(name, value=dict))
        stream.to(self.told[-1])

    def _joins(self) -> None:
        calls = self.calls.select("ship", called=col("at"))
        self._tell(self.moves.join(calls, within="5s", how="left", name="answered"), "answered-out")
        self._tell(self.moves.join_asof(calls, tolerance="20s", name="last_call"), "last-call-out")
        owners = self.ships.table("owners")
        self._tell(self.moves.join(owners, how="left"), "owned-out")
        countries = self.app.global_table("countries", self.ports)
        self._tell(self.moves.join(countries, on=col("port")), "abroad-out")
        merged = self.moves.merge(self.calls)
        self._tell(merged.dedupe("ship", "port", within="8s", name="once"), "once-out")
        latest = self.moves.group_by("ship").agg(port=last("port"), tons=last("tons")).table("latest")
        loads = self.moves.group_by("port").agg(moves=count(), tons=sum("tons")).table("loads")
        self.tables += [
            latest,
            latest.join(owners, how="left", name="latest_owned"),
            latest.join(loads, on="port", how="left", suffix="_there", name="latest_loads"),
            latest.group_by("port", partitions=2).agg(ships=count(), tons=sum("tons")).table("in_port"),
        ]

    def _behind(self) -> None:
        counts = self.moves.group_by("ship").agg(moves=count(), tons=max("tons")).table("counts")
        each = counts.changes(emit="every")
        self._tell(each, "each-out")
        self._tell(counts.emit_every("10s"), "limited-out")
        closed = self.moves.window(tumbling("10s", grace="5s", emit="close")).agg(moves=count()).table("closed")
        self._tell(closed.changes(), "closed-out")
        visits = self.moves.window(session("6s", grace="20s")).agg(moves=count(), tons=sum("tons")).table("visits")
        clock = self.moves.window(tumbling("10s", time="processing", emit="close")).agg(moves=count()).table("clock")
        by_ship = each.group_by("ship").agg(told=count(), moves=sum("moves")).table("each_by_ship")
        windows = closed.changes().window(tumbling("30s", emit="close")).agg(moves=sum("moves")).table("long")
        sizes = visits.group_by("moves").agg(visits=count()).table("visits_by_size")
        totals = clock.changes().group_by("ship").agg(moves=sum("moves"), windows=count()).table("by_the_clock")
        self.tables += [counts, closed, visits, by_ship, windows, sizes, totals]

    def _agents(self) -> None:
        app, moves = self.app, self.moves
        ended, rung = app.topic("ended", value=dict), app.topic("rung", value=dict)
        total = app.table("total", value=int, default=int)

        async def on_close(key: Any, value: int) -> None:
            await ended.send({"ship": key[0], "start": key[1][0], "moves": value})

        spans = app.table("spans", value=int, default=int, on_window_close=on_close).tumbling("20s", expires="5s")
        silent = app.key_timer("silent")

        @app.agent(moves)
        async def watch(stream: AsyncIterator[Move]) -> None:
            async for move in stream:
                spans[move.ship] += 1
                silent.set(move.ship, after="12s")

        @silent.on_time
        async def ring(ship: str, due: float) -> None:
            total[ship] += 1
            await rung.send({"ship": ship, "due": due, "times": total[ship]})

        self.told += [ended, rung]
        self.tables.append(total)


def batches() -> list[list[tuple[str, Any]]]:
    """Return records with their topics, in batches: with disorder, ties, repetitions and late ones."""
    found: list[list[tuple[str, Any]]] = [[("ports", Port(port, port[:2].upper())) for port in PORTS]]
    for n in range(8):
        batch: list[tuple[str, Any]] = []
        for i in range(3):
            k = n * 3 + i
            at = 100.0 + k * 3 - (30.0 if k % 11 == 10 else 7.0 if k % 4 == 3 else 0.0)
            batch.append(("moves", Move(SHIPS[k * k % 4], PORTS[k % 3], k * 7 % 10, at)))
            if k % 3 == 1:
                batch.append(("calls", Move(SHIPS[k % 4], PORTS[k % 2], k, at + 2)))
        if n % 3 == 0:
            batch.append(("ships", Ship(SHIPS[n % 4], f"owner{n}", 100.0 + n * 9)))
        found.append(batch)
    return found


def shown(t: Driver, harbour: Harbour) -> dict[str, Any]:
    """Return all that there is to see, once all windows have closed: rows of tables, and what came to topics."""
    t.advance("2m")
    found: dict[str, Any] = {table.name: t.table(table).rows() for table in harbour.tables}
    for topic in harbour.told:
        reader = t._reader(topic.name)
        found[topic.name] = sorted((r.key, r.timestamp, str(r.value)) for r in reader.all())
    found["refused"] = sorted((d.step, d.reason) for d in t.dead_letters())
    for row in found["by_the_clock"]:
        del row["windows"]  # in which window of the clock a record is does tell of deaths
    return found
