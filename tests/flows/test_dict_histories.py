"""Dictionary tables over random histories: agents see what a plain dictionary shows, whatever the cuts and crashes."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

import flows
from tests.drawn import drawn


class Step(flows.Record):
    does: list[list[Any]] = []
    fails: bool = False


KEYS = st.sampled_from(["a", "b", "c"])
ATOMS = st.one_of(st.none(), st.integers(-3, 3), st.text("xy", max_size=2))
OPS = st.one_of(
    st.tuples(st.just("set"), KEYS, st.one_of(ATOMS, st.lists(st.integers(0, 3), max_size=2))),
    st.tuples(st.just("append"), KEYS, st.integers(0, 9)),
    st.tuples(st.just("read"), KEYS),
    st.tuples(st.just("peek"), KEYS),
    st.tuples(st.just("del"), KEYS),
    st.tuples(st.just("pop"), KEYS),
    st.tuples(st.just("setdefault"), KEYS, ATOMS),
    st.tuples(st.just("list")),
    st.tuples(st.just("clear")),
)
STEPS = st.lists(
    st.builds(Step, st.lists(OPS.map(list), max_size=4), st.sampled_from([False, False, True])), max_size=12
)
CUTS = st.lists(st.sampled_from(["commit", "batch", "crash", "crash in batch", "rebalance"]), min_size=1, max_size=12)


def do(d: Any, op: list[Any]) -> Any:
    """Carry out one operation on a dictionary-like thing whose missing keys are lists; return what was seen."""
    match op:
        case ["set", key, value]:
            d[key] = value
        case ["append", key, value]:
            found = d[key]
            if isinstance(found, list):
                found.append(value)
        case ["read", key]:
            return copy.copy(d[key])
        case ["peek", key]:
            return [key in d, copy.copy(d.get(key, "none"))]
        case ["del", key] if key in d:
            del d[key]
        case ["pop", key]:
            return d.pop(key, "none")
        case ["setdefault", key, value]:
            return copy.copy(d.setdefault(key, value))
        case ["list"]:
            return [[k, copy.copy(v)] for k, v in d.items()]
        case ["clear"]:
            d.clear()
    return None


class Model(dict[str, Any]):
    """A dictionary with the table's meaning: an empty default is handed out, and kept once something is in it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.aside: dict[str, list[Any]] = {}

    def settle(self) -> None:
        for key, value in list(self.aside.items()):
            if value and key not in self:
                self[key] = value
                del self.aside[key]

    def __missing__(self, key: str) -> Any:
        return self.aside.setdefault(key, [])

    def items(self) -> Any:
        return sorted(super().items())


@drawn(150)
@given(STEPS, CUTS)
@example([Step([["set", "a", 1]], False), Step([["clear"], ["read", "a"]], True)], ["batch"])
def test_any_history_reads_as_a_plain_dictionary_would(steps: list[Step], cuts: list[str]) -> None:
    model, expected = Model(), []
    for step in steps:
        before = copy.deepcopy(dict(model))
        seen = []
        for op in step.does:
            model.settle()
            seen.append(do(model, copy.deepcopy(op)))
        model.settle()
        if step.fails:
            model = Model(before)
        else:
            expected.append(seen)
        model.aside.clear()

    app = flows.App("a")
    topic = app.topic("steps", value=Step)
    out = app.topic("out", value=dict)
    d = app.table("d", value=Any, default=list)

    @app.agent(topic, sink=[out], retries=1)
    async def agent(stream):
        async for step in stream:
            yield {"seen": [do(d, op) for op in step.does]}
            if step.fails:
                raise ValueError("as told")

    with app.test() as t:
        left = list(steps)
        while left:
            cut = cuts[len(left) % len(cuts)]
            count = 3 if "batch" in cut else 1
            with t.batch():
                for step in left[:count]:
                    t.send(topic, step)
                if cut == "crash in batch":
                    t.crash()
            left = left[count:]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        assert [r.value["seen"] for r in t.output(out)] == expected
        assert {r["key"]: r["value"] for r in t.table(d).rows()} == model
        t.rebalance()
        assert {r["key"]: r["value"] for r in t.table(d).rows()} == model
        last = {c.key: c.value for c in t.output(d)}
        assert {k: v for k, v in last.items() if v is not None} == {k: v for k, v in model.items() if v is not None}


@drawn(30)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=12), CUTS)
def test_agents_that_share_a_table_see_the_same_whatever_the_batches(
    sent: list[tuple[str, int]], cuts: list[str]
) -> None:
    app = flows.App("a")
    topic = app.topic("steps", value=dict)
    out = app.topic("out", value=dict)
    d = app.table("d", value=int, default=int)

    @app.agent(topic, sink=[out], retries=0)
    async def adds(stream):
        async for step in stream:
            d[step["k"]] += step["n"]
            yield {"adds": d[step["k"]]}
            if step["n"] == 3:
                raise ValueError

    @app.agent(topic, sink=[out])
    async def doubles(stream):
        async for step in stream:
            d[step["k"]] *= 2
            yield {"doubles": d[step["k"]]}

    expected, model = [], {"a": 0, "b": 0}
    for key, n in sent:
        if n != 3:
            model[key] += n
            expected.append({"adds": model[key]})
        model[key] *= 2
        expected.append({"doubles": model[key]})
    with app.test() as t:
        left = list(sent)
        while left:
            cut = cuts[len(left) % len(cuts)]
            count = 4 if "batch" in cut else 1
            with t.batch():
                for key, n in left[:count]:
                    t.send(topic, {"k": key, "n": n})
                if cut == "crash in batch":
                    t.crash()
            left = left[count:]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        assert [r.value for r in t.output(out)] == expected
        assert {r["key"]: r["value"] for r in t.table(d).rows()} == {k: model[k] for k in {key for key, _ in sent}}
