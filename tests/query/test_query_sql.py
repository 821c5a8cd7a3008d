"""SQL over tables: what it answers, what it refuses, and that nothing gets out of it."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl
import pytest

from flows.query import sql as sql_module
from flows.query.base import Change, Missing, Row, TableInfo
from flows.query.sql import run_sql
from flows.query.statement import QueryError

FRAMES = {
    "delays_by_carrier": pl.DataFrame(
        {"carrier": ["AA", "UA"], "window_start": [0.0, 3600.0], "flights": [3, 4], "worst": [None, 61.5]}
    ),
    "late-streak": pl.DataFrame({"key": ["EWR"], "value": [{"length": 5, "since": None}]}),
}
Infos = list[TableInfo]
Lacks = list[Missing]


class FrameTables:
    """Tables that remember which of them were read."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.missing: Lacks = []

    def list(self) -> Infos:
        return [TableInfo(name=n, kind="declared", columns=(), keys=()) for n in FRAMES]

    async def rows(self, table: str, **_: object) -> list[Row]:  # type: ignore[valid-type]
        raise NotImplementedError

    async def windows(self, table: str, **_: object) -> list[float]:  # type: ignore[valid-type]
        raise NotImplementedError

    async def frame(self, table: str, *, missing: Lacks | None = None) -> pl.DataFrame:
        if missing is not None:
            missing.extend(m for m in self.missing if m.table == table)
        self.loaded.append(table)
        return FRAMES[table]

    def changes(self, table: str) -> AsyncIterator[list[Change]]:  # type: ignore[valid-type]
        raise NotImplementedError


@pytest.fixture
def tables() -> FrameTables:
    return FrameTables()


async def test_rows_come_with_their_columns(tables: FrameTables) -> None:
    result = await run_sql("SELECT carrier, worst FROM delays_by_carrier ORDER BY 1", tables)
    assert result.columns == ["carrier", "worst"]
    assert result.rows == [("AA", None), ("UA", 61.5)]
    assert not result.truncated
    assert result.objects()[1] == {"carrier": "UA", "worst": 61.5}


async def test_only_named_tables_are_read(tables: FrameTables) -> None:
    await run_sql("WITH c AS (FROM delays_by_carrier) SELECT * FROM c", tables)
    assert tables.loaded == ["delays_by_carrier"]


async def test_names_may_differ_in_case_and_need_quotes_for_a_dash(tables: FrameTables) -> None:
    assert (await run_sql("SELECT COUNT(*) FROM DELAYS_by_carrier", tables)).rows == [(2,)]
    assert (await run_sql('SELECT value.length FROM "late-streak"', tables)).rows == [(5,)]
    with pytest.raises(QueryError, match='write "late-streak" in quotes'):
        await run_sql("SELECT * FROM late-streak", tables)


async def test_what_a_table_lacks_is_told_with_the_result(tables: FrameTables) -> None:
    lack = Missing(table="late-streak", partition=1, worker="w", reason="restoring")
    tables.missing = [lack]
    assert (await run_sql('FROM "late-streak"', tables)).missing == (lack,)
    assert (await run_sql("FROM delays_by_carrier", tables)).missing == ()


@pytest.mark.parametrize("sql", ["SHOW TABLES", "SELECT table_name FROM information_schema.tables"])
async def test_the_catalogue_has_all_tables(tables: FrameTables, sql: str) -> None:
    assert sorted((await run_sql(sql, tables)).rows) == [("delays_by_carrier",), ("late-streak",)]


async def test_describe_and_functions_without_a_table(tables: FrameTables) -> None:
    described = await run_sql("DESCRIBE delays_by_carrier", tables)
    assert [row[0] for row in described.rows] == ["carrier", "window_start", "flights", "worst"]
    assert (await run_sql("SELECT sum(range) FROM range(5)", tables)).rows == [(10,)]


async def test_zoned_times_are_utc_and_keep_their_order(tables: FrameTables) -> None:
    sql = "SELECT to_timestamp(window_start) AS t, to_timestamp(0) AS t FROM delays_by_carrier ORDER BY 1 DESC;"
    result = await run_sql(sql, tables)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert result.columns == ["t", "t"]
    assert result.rows == [(epoch + dt.timedelta(hours=1), epoch), (epoch, epoch)]


def test_the_parts_and_text_of_a_time_are_those_of_utc_wherever_the_machine_stands() -> None:
    sql = "SELECT hour(to_timestamp(0)) AS h, to_timestamp(0)::VARCHAR AS t, date_trunc('day', to_timestamp(0)) AS d"
    program = f"""if True:
        import asyncio
        from flows.query.sql import run_sql
        from tests.query.test_query_sql import FrameTables
        print(asyncio.run(run_sql({sql!r}, FrameTables())).rows)"""
    elsewhere = {**os.environ, "TZ": "America/New_York"}  # DuckDB asks for the machine's zone once a process
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=elsewhere, check=True)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert shown.stdout == f"[(0, '1970-01-01 00:00:00+00', {epoch!r})]\n"


async def test_rows_beyond_the_limit_are_cut_and_said_to_be(tables: FrameTables) -> None:
    result = await run_sql("SELECT * FROM range(1000000000)", tables, max_rows=3)
    assert result.rows == [(0,), (1,), (2,)]
    assert result.truncated
    assert not (await run_sql("SELECT * FROM range(3)", tables, max_rows=3)).truncated


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM delays_by_carier", "there is no table 'delays_by_carier'; did you mean 'delays_by_carrier'?"),
        ("SELECT fligths FROM delays_by_carrier", "there is no column 'fligths'; did you mean 'flights'?"),
        ("SELECT d.fligths FROM delays_by_carrier d", "there is no column 'fligths'; did you mean 'flights'?"),
        ("SELECT * FROM x.delays_by_carrier", "no table 'x.delays_by_carrier'; did you mean 'delays_by_carrier'?"),
        ("SELEC 1", "Parser Error"),
        ("", "expected one SQL statement, got none"),
        ("-- nothing", "expected one SQL statement, got none"),
        ("SELECT 1; SELECT 2", "expected one SQL statement, got 2"),
        ("SELECT ?", "parameter"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "depth"),
    ],
)
async def test_mistakes_are_told_in_one_line(tables: FrameTables, sql: str, words: str) -> None:
    with pytest.raises(QueryError, match=words.replace("?", r"\?") if "did you" in words else words) as told:
        await run_sql(sql, tables)
    assert "\n" not in str(told.value)


ATTACKS = [
    "COPY delays_by_carrier TO '{out}'",
    "COPY (SELECT 1) TO '{out}' (FORMAT parquet)",
    "EXPORT DATABASE '{out}'",
    "IMPORT DATABASE '{secret}'",
    "ATTACH '{out}' AS other",
    "CREATE TABLE t AS SELECT 1",
    "INSERT INTO delays_by_carrier VALUES (1)",
    "DROP VIEW delays_by_carrier",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "CALL enable_logging()",
    "PREPARE x AS SELECT 1",
    "EXPLAIN ANALYZE COPY delays_by_carrier TO '{out}'",
    "PIVOT delays_by_carrier ON carrier USING sum(flights)",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM READ_BLOB('{secret}')",
    "SELECT * FROM read_json_auto('{secret}')",
    "SELECT * FROM parquet_scan('{secret}')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "SELECT * FROM 'https://example.org/x.parquet'",
    "SELECT (SELECT count(*) FROM read_text('{secret}'))",
    "SELECT * FROM delays_by_carrier WHERE carrier IN (FROM read_text('{secret}'))",
    "WITH x AS (FROM read_text('{secret}')) FROM x",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table('{secret}')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT * FROM python_map_function()",
    "SELECT * FROM arrow_scan(0, 0, 0)",
    "SELECT * FROM pandas_scan(0)",
    "SELECT * FROM enable_logging(storage := 'file', storage_path := '{out}')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM FRAMES",
    "SELECT * FROM tables",
    "SELECT getenv('HOME')",
    "SELECT 1; COPY (SELECT 1) TO '{out}'",
]


@pytest.mark.parametrize("sql", ATTACKS)
async def test_nothing_gets_in_or_out(tables: FrameTables, tmp_path: Path, sql: str) -> None:
    secret, out = tmp_path / "secret.csv", tmp_path / "out"
    secret.write_text("password\nhunter2\n")
    with pytest.raises(QueryError) as told:
        await run_sql(sql.format(secret=secret, out=out), tables)
    assert "hunter2" not in str(told.value)
    assert os.listdir(tmp_path) == ["secret.csv"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = 3 AND b.range % 5 = a.range",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    ],
)
async def test_a_query_without_end_is_interrupted(tables: FrameTables, sql: str) -> None:
    with pytest.raises(QueryError, match=r"took longer than 0\.2 s"):
        await run_sql(sql, tables, timeout=0.2)


async def test_a_query_that_eats_memory_is_stopped(tables: FrameTables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sql_module._CONFIG, "memory_limit", "20MB")
    with pytest.raises(QueryError, match="Out of Memory"):
        await run_sql("SELECT list(range) FROM range(100000000000)", tables)
