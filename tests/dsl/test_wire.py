"""Plans as JSON: every literal reads back, and what is no plan is refused."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.plan.explain import explain_json, plan_from_json
from dsl.plan.exprs import Call, Column, ExprNode, Literal
from dsl.plan.graph import Plan
from dsl.plan.nodes import FilterNode
from dsl.plan.types import Schema
from flows import App

LITERALS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.datetimes(),
    st.datetimes(timezones=st.just(dt.UTC)),
    st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1)).map(
        lambda t: t.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5)))
    ),
    st.dates(),
    st.timedeltas(),
)


def with_predicate(predicate: ExprNode) -> Plan:
    return Plan("test", (FilterNode(id="f", input="t", predicate=predicate, schema=Schema(())),))


def read_back(predicate: ExprNode) -> Any:
    plan = with_predicate(predicate)
    # The step's topic is missing, so the sub-topologies are those of a lone filter: enough to print and read it.
    plan.__dict__["subtopologies"] = ()
    node = plan_from_json(explain_json(plan)).nodes["f"]
    assert isinstance(node, FilterNode)
    return node.predicate


@given(LITERALS)
def test_literals_read_back(value: Any) -> None:
    predicate = read_back(Call("eq", (Column("c"), Literal(value))))
    found = predicate.args[1].value
    assert type(found) is type(value)
    assert found == value


def test_nan_reads_back() -> None:
    assert math.isnan(read_back(Literal(math.nan)).value)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '{"format": 2}', '{"format": 1, "app": "a"}', '{"format": 1, "nodes": [{}]}']
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no plan"):
        plan_from_json(text)


def test_a_node_of_a_later_version_is_refused() -> None:
    text = explain_json(App("a").plan()).replace("[]\n}", '[{"type": "warp", "id": "w"}]\n}')
    with pytest.raises(ValueError, match="warp"):
        plan_from_json(text)
