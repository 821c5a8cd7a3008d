"""What declared tables compute, lists and large integers too, as SQL sees it."""

from __future__ import annotations

import polars as pl
import pytest

from dsl.aggregate import arg_max, collect, histogram, sum, top_k, var
from flows.query.base import Missing, TableInfo
from flows.query.sql import run_sql
from tests.operate.aggregate_histories import event
from tests.operate.aggregate_runs import aggregation, run
from tests.query.test_query_sql import FrameTables

LARGE = 2**63 - 1


class Computed(FrameTables):
    """One table `t` of one group."""

    def list(self) -> list[TableInfo]:
        return [TableInfo(name="t", kind="declared", columns=(), keys=())]

    async def frame(self, table: str, *, missing: list[Missing] | None = None) -> pl.DataFrame:
        made = aggregation(
            total=sum("int"),
            values=collect("int"),
            top=top_k("str"),
            sizes=histogram("int", [0, 5]),
            largest=arg_max("str", by="int"),
            spread=var("float"),
        )
        events = [event(int=LARGE, str="a", float=1.0), event(int=LARGE, str="a", float=3.0), event(int=1, str="b")]
        return made.results(list(run(made, events).values()))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("total", 2 * LARGE + 1),
        ("total + 1", 2 * LARGE + 2),
        ("[total]", [2 * LARGE + 1]),
        ("{'a': total}", {"a": 2 * LARGE + 1}),
        ('"values"[2:]', [LARGE, 1]),
        ("top[1]", {"value": "a", "count": 2, "error": 0}),
        ("list_transform(top, lambda x: x.value)", ["a", "b"]),
        ("sizes[3].count", 2),
        ("sizes[1].low", None),
        ("largest", "a"),
        ("spread", 2.0),
    ],
)
async def test_sql_reads_what_a_table_computed(expression: str, value: object) -> None:
    assert (await run_sql(f"SELECT {expression} FROM t", Computed())).rows == [(value,)]
