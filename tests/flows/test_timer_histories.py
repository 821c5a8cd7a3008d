"""Random histories through agents that set timers of keys, however they are cut, against a naive oracle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given

import flows
from tests.drawn import drawn
from tests.flows.histories import CUTS, SECOND, Reading, histories, play
from tests.oracle.tables import Sent


class Naive:
    """Two timers of a key in one partition: what they tell, in order, as (which, key, due, count)."""

    def __init__(self) -> None:
        self.timers: dict[str, dict[str, int]] = {"short": {}, "long": {}}
        self.counts: dict[str, int] = {}
        self.told: list[tuple[str, str, int, int]] = []

    def take(self, sent: Sent, now: int | None) -> None:
        if now is not None:
            self.fire(now)
        key, n = sent.fields["key"], sent.fields["n"]
        self.counts[key] = self.counts.get(key, 0) + 1
        if n is None:
            self.timers["short"].pop(key, None)
        elif sent.time is not None:
            self.timers["short"][key] = sent.time + abs(n) % 13 * SECOND
        else:
            self.timers["long"][key] = 120 * SECOND
        if now is not None:
            self.fire(now)

    def fire(self, now: int) -> None:
        while due := sorted(
            (at, which != "short", key, which)
            for which, timers in self.timers.items()
            for key, at in timers.items()
            if at <= now
        ):
            at, _, key, which = due[0]
            del self.timers[which][key]
            self.told.append((which, key, at, self.counts[key]))
            self.counts[key] += 10
            if which == "short" and self.counts[key] % 3:
                self.timers["long"][key] = at + 5 * SECOND


@drawn(25)
@given(histories(2), CUTS)
def test_timers_go_off_in_order_wherever_commits_and_crashes_fall(history: list[Sent], cuts: list[str]) -> None:
    app = flows.App("o")
    topic = app.topic("readings", value=Reading, timestamp="at", partitions=2)
    told = app.topic("told", value=dict, partitions=1)  # of several, what is first is not told
    counts = app.table("counts", value=int, default=int)
    short, long = app.key_timer("short"), app.key_timer("long")

    @app.agent(topic)
    async def watch(stream: AsyncIterator[Reading]) -> None:
        async for reading in stream:
            key = reading.key or "none"
            counts[key] += 1
            if reading.n is None:
                short.cancel(key)
            elif reading.at is not None:
                short.set(key, after=abs(reading.n) % 13)
            else:
                long.set(key, at=120.0)

    async def tell(which: str, key: str, due: float) -> None:
        await told.send({"which": which, "due": due, "count": counts[key]}, key=key)
        counts[key] += 10

    @short.on_time
    async def ring(key: str, due: float) -> None:
        await tell("short", key, due)
        if counts[key] % 3:
            long.set(key, at=due + 5)

    @long.on_time
    async def ring_again(key: str, due: float) -> None:
        await tell("long", key, due)

    naive, times = [Naive(), Naive()], [None, None]
    for sent in history:
        known: Any = times[sent.partition]
        if sent.time is not None:
            known = sent.time if known is None else max(known, sent.time)
        times[sent.partition] = known
        key = sent.fields["key"] or "none"
        naive[sent.partition].take(Sent(sent.partition, sent.time, {**sent.fields, "key": key}), known)
    with app.test() as t:
        play(t, topic, history, cuts)
        found = [(r.value["which"], r.key, round(r.value["due"] * SECOND), r.value["count"]) for r in t.output(told)]
        for oracle in naive:
            mine = {row[1] for row in oracle.told}
            assert [row for row in found if row[1] in mine] == oracle.told
        assert len(found) == sum(len(oracle.told) for oracle in naive)
        left = {(row["key"], round(row["value"] * SECOND)) for row in t.table(short).rows()}
        assert left == {item for oracle in naive for item in oracle.timers["short"].items()}
