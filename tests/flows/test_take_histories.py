"""take() over random histories: every record in one list, in order, whatever failed, died or waited in between."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.drawn import drawn
from tests.flows.shop import Order, shop

PATIENCE = 5.0
AMOUNTS = st.lists(st.sampled_from([1, 2, 3, 4, 13]), min_size=1, max_size=5)
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), AMOUNTS),
        st.tuples(st.just("send, crash"), AMOUNTS),
        st.tuples(st.just("advance"), st.sampled_from([1.0, 2.5, 4.0])),
        st.tuples(st.just("crash"), st.none()),
        st.tuples(st.just("rebalance"), st.none()),
    ),
    max_size=12,
)


class Model:
    """Lists of n, or what has waited long enough; patience begins anew where the agent does."""

    def __init__(self, size: int, within: float | None) -> None:
        self.size, self.within = size, within
        self.now, self.since = 0.0, 0.0
        self.pending: list[int] = []
        self.lists: list[list[int]] = []

    def send(self, amounts: list[int]) -> None:
        for amount in amounts:
            if not self.pending:
                self.since = self.now
            self.pending.append(amount)
            if len(self.pending) == self.size:
                self._deliver()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if self.within is not None and self.pending and self.now >= self.since + self.within:
            self._deliver()

    def restart(self) -> None:
        self.since = self.now

    def _deliver(self) -> None:
        self.lists.append(self.pending)
        self.pending = []


@drawn(60)
@given(OPS, st.integers(1, 4), st.booleans())
def test_lists_are_delivered_once_or_refused_whole(ops: list[tuple[str, Any]], size: int, patient: bool) -> None:
    app, orders, out = shop()
    totals = app.table("totals", value=int, default=int)
    within = PATIENCE if patient else None

    @app.agent(orders, sink=[out], retries=1)
    async def lists(stream):
        async for found in stream.take(size, within=within):
            amounts = [o.amount for o in found]
            totals["all"] += sum(amounts)
            yield {"list": amounts, "total": totals["all"]}
            if 13 in amounts:
                raise ValueError("unlucky")

    model = Model(size, within)
    with app.test() as t:
        for op, given in ops:
            if op == "advance":
                t.advance(given)
                model.advance(given)
            elif op.startswith("send"):
                with t.batch():
                    for amount in given:
                        t.send(orders, Order("a", amount), at=0.0)
                    if op == "send, crash":
                        t.crash()
                        model.restart()
                model.send(given)
            else:
                getattr(t, op)()
                model.restart()
        good = [found for found in model.lists if 13 not in found]
        assert [r.value["list"] for r in t.output(out)] == good
        assert len(t.dead_letters()) == sum(map(len, model.lists)) - sum(map(len, good))
        assert t.table(totals).get("all") == (sum(map(sum, good)) if good else None)
