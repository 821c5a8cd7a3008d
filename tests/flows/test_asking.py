"""Asking agents: answers, timeouts, refusals, and what cannot be asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import flows
from flows.errors import AgentError, AnswerTimeout
from flows.testing import Driver


class Add(flows.Record):
    account: str
    amount: int


class Total(flows.Record):
    account: str
    total: int


class Bank:
    """An app with an agent that adds up and answers, and one that asks it."""

    def __init__(self, **ask: Any) -> None:
        self.app = flows.App("bank")
        self.adds = self.app.topic("adds", value=Add, key="account", partitions=2)
        self.jobs = self.app.topic("jobs", value=dict)
        self.out = self.app.topic("out", value=dict)
        totals = self.totals = self.app.table("totals", value=int, default=int)

        @self.app.agent(self.adds, retries=1)
        async def adder(stream):
            async for add in stream:
                if add.amount < 0:
                    raise ValueError("too poor")
                totals[add.account] += add.amount
                yield Total(add.account, totals[add.account])
                yield "not for who waits"

        @self.app.agent(self.jobs, sink=[self.out], retries=0)
        async def clerk(stream):
            async for job in stream:
                if "cast" in job:
                    await adder.cast({"account": "cast", "amount": job["cast"]})
                if job.get("fails"):
                    raise ValueError("as told")
                if "ask" in job:
                    yield {"answer": await adder.ask({"account": "asked", "amount": job["ask"]}, **ask)}

        self.adder, self.clerk = adder, clerk

    def waiting(self, t: Driver) -> int:
        return len(t._env.asking.waiting)


def test_an_answer_is_the_first_thing_that_is_yielded() -> None:
    bank = Bank()
    with bank.app.test() as t:
        assert t.ask(bank.adder, {"account": "a", "amount": 5}) == {"account": "a", "total": 5}
        assert t.ask(bank.adder, Add("a", 2), returns=Total) == Total("a", 7)
        t.crash()
        assert t.ask(bank.adder, Add("a", 1), returns=Total).total == 8
        t.rebalance()
        assert t.ask(bank.adder, Add("a", 1), returns=Total).total == 9
        assert bank.waiting(t) == 0


def test_agents_ask_agents_and_the_answer_is_committed() -> None:
    bank = Bank(returns=Total)
    with bank.app.test() as t:
        t.send(bank.jobs, {"ask": 3})
        t.send(bank.jobs, {"ask": 4})
        assert [r.value["answer"]["total"] for r in t.output(bank.out)] == [3, 7]
        assert t.ask(bank.clerk, {"ask": 1}) == {"answer": {"account": "asked", "total": 8}}


def test_a_refused_question_says_why_at_once() -> None:
    bank = Bank()
    with bank.app.test() as t:
        with pytest.raises(AgentError, match=r"agent 'adder' did not answer: ValueError: too poor \(2 attempts\)"):
            t.ask(bank.adder, {"account": "a", "amount": -1})
        assert t.dead_letters()[0].step == "adder"
        assert bank.waiting(t) == 0


def test_no_answer_ends_after_the_timeout_and_leaves_nothing_behind() -> None:
    """In Faust there is no timeout, and waiting entries stay."""
    app = flows.App("slow")
    topic = app.topic("questions", value=dict)

    @app.agent(topic)
    async def slow(stream):
        async for _ in stream:
            await asyncio.sleep(60)
            yield 1

    with app.test() as t:
        with pytest.raises(AnswerTimeout, match=r"agent 'slow' has not answered within 5 s; see whether"):
            t.ask(slow, {}, timeout="5s")
        with pytest.raises(TimeoutError):
            t.ask(slow, {}, timeout=5)
        assert not t._env.asking.waiting
        # The late answer goes by.
        t.advance("2m")
        assert t.ask(slow, {}, timeout="2m") == 1
        with pytest.raises(ValueError, match="a timeout must be positive"):
            t.ask(slow, {}, timeout=0)


def test_an_agent_without_a_word_answers_none_when_it_is_done() -> None:
    app = flows.App("quiet")
    topic = app.topic("questions", value=dict)
    seen = app.table("seen", value=int, default=int)

    @app.agent(topic)
    async def quiet(stream):
        async for value in stream:
            if value["n"] == 2:
                seen["two"] += 1

    @app.agent(topic, name="pairs")
    async def pairs(stream):
        async for values in stream.take(2):
            yield sum(v["n"] for v in values)

    with app.test() as t:
        assert t.ask(quiet, {"n": 1}) is None
        assert t.ask(quiet, {"n": 2}) is None
        assert t.table(seen).get("two") == 1


def test_a_list_answers_all_that_asked_for_its_records() -> None:
    app = flows.App("pairs")
    topic, jobs, out = app.topic("numbers", value=dict), app.topic("jobs", value=dict), app.topic("out", value=dict)

    @app.agent(topic)
    async def pairs(stream):
        async for values in stream.take(2):
            yield sum(v["n"] for v in values)

    @app.agent(jobs, sink=[out])
    async def ask(stream):
        async for job in stream:
            yield {"answers": await pairs.join([{"n": n} for n in job["numbers"]])}

    with app.test() as t:
        t.send(jobs, {"numbers": [1, 2, 3, 4]})
        assert [r.value["answers"] for r in t.output(out)] == [[3, 3, 7, 7]]


def test_map_and_join_ask_many_at_once() -> None:
    app = flows.App("many")
    squares, jobs, out = app.topic("squares", value=dict), app.topic("jobs", value=dict), app.topic("out", value=dict)

    @app.agent(squares)
    async def square(stream):
        async for key, value in stream.items():
            yield [key, value["n"] ** 2]

    async def numbers(count: int) -> Any:
        for n in range(count):
            yield f"k{n}", {"n": n}

    @app.agent(jobs, sink=[out])
    async def ask(stream):
        async for job in stream:
            n = job["n"]
            yield {"join": await square.join([{"n": i} for i in range(n)], key="k")}
            yield {"kvjoin": await square.kvjoin(numbers(n))}
            yield {"map": sorted([a async for a in square.map([{"n": i} for i in range(n)])])}
            yield {"kvmap": sorted([a async for a in square.kvmap(numbers(n))])}
            async for answer in square.kvmap(numbers(n)):
                yield {"first": answer is not None}
                break

    with app.test() as t:
        t.send(jobs, {"n": 250})
        join, kvjoin, mapped, kvmapped, first = (next(iter(r.value.values())) for r in t.output(out))
        assert join == [["k", n**2] for n in range(250)]
        assert kvjoin == [[f"k{n}", n**2] for n in range(250)]
        assert mapped == [[None, n**2] for n in range(250)]
        assert sorted(kvmapped) == sorted([[f"k{n}", n**2] for n in range(250)])
        assert first is True
        t.advance("1m")
        assert not t._env.asking.waiting


def test_what_is_cast_within_a_record_is_part_of_its_transaction() -> None:
    bank = Bank()
    with bank.app.test() as t:
        t.send(bank.jobs, {"cast": 5, "fails": True})
        assert t.table(bank.totals).rows() == []
        with t.batch():
            t.send(bank.jobs, {"cast": 7})
            t.crash()
        assert t.table(bank.totals).rows() == [{"key": "cast", "value": 7}]


def test_a_question_that_would_wait_for_itself_is_refused() -> None:
    app = flows.App("circle")
    topics = [app.topic(name, value=dict) for name in ("a", "b")]
    agents: list[Any] = []

    @app.agent(topics[0], retries=0)
    async def first(stream):
        async for value in stream:
            yield await agents[value["ask"]].ask(value)

    @app.agent(topics[1], retries=0)
    async def second(stream):
        async for value in stream:
            yield await first.ask(value)

    agents += [first, second]
    with app.test() as t:
        with pytest.raises(AgentError, match="agent 'first' runs in the tasks of 'a', one of which waits for this"):
            t.ask(first, {"ask": 0})
        with pytest.raises(AgentError, match="agent 'second' did not answer: AgentError: agent 'first' runs in"):
            t.ask(first, {"ask": 1})


def test_replies_go_to_a_topic_or_another_agent() -> None:
    bank = Bank()
    app, notes = bank.app, bank.app.topic("notes", value=dict)
    told = app.table("told", value=int, default=int)
    orders = app.topic("orders", value=dict)

    @app.agent(notes)
    async def note(stream):
        async for event in stream.events():
            told[dict(event.headers).get("flows-correlation-id", b"").decode()] += 1

    @app.agent(orders)
    async def order(stream):
        async for _ in stream:
            yield {"done": True}

    @app.timer("1s")
    async def start() -> None:
        await order.send({}, key="k", reply_to=note, correlation_id="c1")
        await order.send({}, reply_to=notes)

    with app.test() as t:
        t.advance("1s")
        assert {r["key"]: r["value"] for r in t.table(told).rows()} == {"c1": 1, "": 1}
        assert [(r.key, r.value) for r in t.output(notes)] == [("k", {"done": True}), (None, {"done": True})]


@pytest.mark.parametrize("on_leader", [True, False])
def test_a_timer_asks_and_waits_for_what_takes_time(on_leader: bool) -> None:
    app = flows.App("a")
    numbers, doubled = app.topic("numbers", value=int), app.topic("doubled", value=list)

    @app.agent(numbers)
    async def double(stream):
        async for number in stream:
            if number == 2:
                await asyncio.sleep(4)
            yield 2 * number

    @app.timer("3s", on_leader=on_leader)
    async def ask() -> None:
        await doubled.send(await double.join([1, 2]))

    with app.test() as t:
        t.advance("3s")
        assert t.output(doubled) == []  # its next tick waits for this one
        t.advance("4s")
        assert [r.value for r in t.output(doubled)] == [[2, 4]]
        t.advance("7s")
        assert [r.value for r in t.output(doubled)] == [[2, 4]]


def test_nothing_can_be_sent_outside_of_a_worker() -> None:
    bank = Bank()
    with pytest.raises(RuntimeError, match=r"agent 'adder'.ask is only usable inside an agent"):
        bank.adder.ask({"account": "a", "amount": 1}).send(None)
