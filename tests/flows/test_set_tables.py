"""Set tables: what a set does, element by element, exact over crashes and moves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import DeclarationError
from flows.run.worker import Worker
from flows.settings import Settings
from tests.drawn import drawn


def run(body: Callable[[Any, Any], Any], *inputs: Any, **types: Any) -> tuple[Any, Any, Any]:
    """Run `body(table, input)` as an agent over inputs; return the rows, what it returned, and the dead letters."""
    app = flows.App("a")
    steps, out = app.topic("steps", value=dict), app.topic("out", value=dict)
    table = app.set_table("s", **types)

    @app.agent(steps, sink=[out], retries=0, tables=[table])
    async def agent(stream):
        async for step in stream:
            yield {"out": body(table, step["in"])}

    with app.test() as t:
        for each in inputs:
            t.send(steps, {"in": each})
        rows = t.table(table).rows()
        t.rebalance()
        assert t.table(table).rows() == rows
        return rows, [r.value["out"] for r in t.output(out)], [d.reason for d in t.dead_letters()]


def test_a_set_has_what_a_set_has() -> None:
    def body(s: Any, n: int) -> Any:
        a = s["a"]
        if n == 0:
            a.add("x")
            a.update("yz", ["w"])
            a.discard("nothing")
            a.remove("w")
            return [list(a), "x" in a, "w" in a, len(a), sorted(a | {"q"}), sorted(a & {"x"}), sorted(a - {"x"})]
        if n == 1:
            s["b"] |= {"1", "2"}
            s["c"] = "34"
            s["a"] -= {"x"}
            return [list(s), [sorted(v) for v in s.values()], "b" in s, "d" in s, len(s), a == {"y", "z"}]
        if n == 2:
            try:
                a.remove("nothing")
            except KeyError:
                del s["b"]
            a.intersection_update({"y", "q"})
            s["c"].difference_update("3")
            return [sorted(a.union("p")), sorted(a.intersection("y")), sorted(a.difference("y")), a.issubset("yz")]
        s.clear()
        s["last"] = [a.copy() == set(), "z"][1:]
        return [[k, sorted(v)] for k, v in s.items()]

    rows, out, dead = run(body, 0, 1, 2, 3)
    assert dead == []
    assert out == [
        [["x", "y", "z"], True, False, 3, ["q", "x", "y", "z"], ["x"], ["y", "z"]],
        [["a", "b", "c"], [["y", "z"], ["1", "2"], ["3", "4"]], True, False, 3, True],
        [["p", "y"], ["y"], [], True],
        [["last", ["z"]]],
    ]
    assert rows == [{"key": "last", "value": "z"}]


def test_elements_and_keys_are_checked() -> None:
    rows, _, dead = run(lambda s, n: s[n[0]].add(n[1]), ["a", 1], ["a", "1"], [2, 1], key=str, value=int)
    assert rows == [{"key": "a", "value": 1}]
    assert "table 's': element '1' is str, declared value=int" in dead[0]
    assert "table 's': key 2 is int, declared key=str" in dead[1]


def test_tuples_are_elements() -> None:
    rows, out, _ = run(
        lambda s, n: [s[n].add((n, 5)), [list(e) for e in s[n]]][1], 1, 2, key=int, value=tuple[int, int]
    )
    assert out == [[[1, 5]], [[2, 5]]]
    assert [r["value"] for r in rows] == [(1, 5), (2, 5)]


def test_an_element_costs_one_row_of_the_changelog() -> None:
    """A set as one value would be written anew with each element."""
    app = flows.App("a")
    steps = app.topic("steps", value=dict)
    seen = app.set_table("seen", value=int)

    @app.agent(steps)
    async def agent(stream):
        async for step in stream:
            seen["all"].add(step["in"])

    with app.test() as t:
        with t.batch():
            for n in range(100):
                t.send(steps, {"in": n})
        assert len(t.output(seen)) == 100
        t.send(steps, {"in": 100})
        t.send(steps, {"in": 7})
        assert [(c.key, c.value) for c in t.output(seen)] == [(("all", 100), 100)]
        assert t.table(seen).get("all") == set(range(101))


def test_what_is_no_set_table_is_told() -> None:
    with pytest.raises(DeclarationError, match=r"value=list cannot be an element of a set: use str, int"):
        flows.App("a").set_table("s", value=list)


OPS = st.one_of(
    st.tuples(st.sampled_from(["add", "discard", "in"]), st.sampled_from("ab"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["clear", "list", "pop"]), st.sampled_from("ab")),
    st.tuples(st.just("set"), st.sampled_from("ab"), st.lists(st.integers(0, 3), max_size=3)),
    st.tuples(st.just("items")),
)
STEPS = st.lists(st.tuples(st.lists(OPS, max_size=4), st.sampled_from([False, False, True])), max_size=12)
CUTS = st.lists(st.sampled_from(["commit", "batch", "crash", "crash in batch", "rebalance"]), min_size=1, max_size=8)


def do(s: Any, op: Any) -> Any:
    match op:
        case ["add" | "discard" as what, key, n]:
            getattr(s[key], what)(n)
        case ["in", key, n]:
            return n in s[key]
        case ["clear", key]:
            s[key].clear()
        case ["list", key]:
            return sorted(s[key])
        case ["pop", key]:
            if s[key]:
                s[key].remove(min(s[key]))
        case ["set", key, elements]:
            s[key] = set(elements)
        case ["items"]:
            return [[k, sorted(v)] for k, v in sorted(s.items()) if v]
    return None


@drawn(50)
@given(STEPS, CUTS)
def test_any_history_reads_as_sets_would(steps: list[Any], cuts: list[str]) -> None:
    model: dict[str, set[int]] = {"a": set(), "b": set()}
    expected = []
    for ops, fails in steps:
        before = copy.deepcopy(model)
        seen = [do(model, op) for op in ops]
        if fails:
            model = before
        else:
            expected.append(seen)

    app = flows.App("a")
    topic, out = app.topic("steps", value=dict), app.topic("out", value=dict)
    s = app.set_table("s", value=int)

    @app.agent(topic, sink=[out], retries=1)
    async def agent(stream):
        async for step in stream:
            yield {"seen": [do(s, op) for op in step["ops"]]}
            if step["fails"]:
                raise ValueError("as told")

    with app.test() as t:
        left = list(steps)
        while left:
            cut = cuts[len(left) % len(cuts)]
            some = left[: 3 if "batch" in cut else 1]
            with t.batch():
                for ops, fails in some:
                    t.send(topic, {"ops": ops, "fails": fails})
                if cut == "crash in batch":
                    t.crash()
            left = left[len(some) :]
            if cut in ("crash", "rebalance"):
                getattr(t, cut)()
        assert [r.value["seen"] for r in t.output(out)] == expected
        assert {k: t.table(s).get(k) for k in model} == model


async def test_a_clean_restart_on_rocksdb_keeps_the_last_operation(tmp_path: Path) -> None:
    """In Faust a set table loses it."""
    seen = []
    for limit in (1, 2, 3):
        app = flows.App("a")
        topic = app.topic("steps", value=dict)
        s = app.set_table("s", value=int)

        @app.agent(topic, tables=[s])
        async def agent(stream, s=s):
            async for step in stream:
                s["k"].add(step["n"])
                seen.append(sorted(s["k"]))

        @app.source(topic)
        def numbers(position: int, limit: int = limit) -> Any:
            yield from ({"n": n} for n in range(position, limit))

        await Worker(app, Settings(data=tmp_path, drain=True, web_port=-1)).run()
    assert seen == [[0], [0, 1], [0, 1, 2]]
