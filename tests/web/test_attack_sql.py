"""SQL from a stranger: it reads the tables and nothing else, no file, no network, no setting; and it ends."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from flows.brokers.base import Broker
from tests.query.test_query_sql import ATTACKS
from tests.web.fortress import Fortress, fortress

MORE = [
    "SELECT * FROM '{secret}'",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_parquet('http://127.0.0.1:{port}/x')",
    "SELECT * FROM 'http://127.0.0.1:{port}/x.csv'",
    "SELECT * FROM read_csv('s3://bucket/x')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table('{secret}')",
    "SELECT getenv('HOME')",
    "WITH a AS (SELECT * FROM read_text('{secret}')) SELECT * FROM a",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM late_streak WHERE key IN (SELECT content FROM read_text('{secret}'))",
    "SELECT 1; COPY late_streak TO '{out}'",
    "COPY late_streak TO '{out}'",
    "COPY late_streak TO PROGRAM 'touch {out}'",
    "SET enable_external_access=true",
    "RESET lock_configuration",
    "PRAGMA enable_external_access",
    "LOAD httpfs",
    "INSTALL httpfs",
    "ATTACH '{secret}' AS a",
    "CREATE TABLE t AS SELECT * FROM late_streak",
    "DELETE FROM late_streak",
    "CALL pragma_version()",
    "EXPLAIN ANALYZE COPY late_streak TO '{out}'",
    "EXECUTE x",
    "VACUUM",
]


async def asked(place: Fortress, sql: str) -> tuple[int, Any]:
    async with place.client.post("/api/query", json={"sql": sql}) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("part", range(4))
async def test_nothing_gets_in_or_out(broker: Broker, tmp_path: Path, part: int) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    secret, out = folder / "secret.csv", folder / "out"
    secret.write_text("password\nhunter2\n")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        port = listening.getsockname()[1]
        async with fortress(broker) as place:
            for sql in [*ATTACKS, *MORE][part::4]:
                filled = sql.format(secret=secret, out=out, folder=folder, port=port)
                status, answer = await asked(place, filled)
                assert status == 400, f"{filled}: {answer}"
                assert "hunter2" not in str(answer)
            assert await asked(place, "SELECT value FROM late_streak WHERE key = 'JFK'") == (
                200,
                {"columns": ["value"], "rows": [[2]], "truncated": False, "missing": []},
            )
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert [path.name for path in folder.iterdir()] == ["secret.csv"]


async def test_a_query_without_end_is_cut_off_and_others_are_answered(broker: Broker) -> None:
    endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"
    async with fortress(broker) as place:
        slow = asyncio.create_task(asked(place, endless))
        async with place.client.get("/api/tables/late_streak") as response:
            assert response.status == 200
        status, answer = await slow
        assert (status, "took longer than 0.5 s" in answer["error"]) == (400, True)


async def test_no_more_queries_at_once_than_the_limit(broker: Broker) -> None:
    endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"
    async with fortress(broker, queries=2) as place:
        answers = await asyncio.gather(*(asked(place, endless) for _ in range(6)))
        assert sorted(status for status, _ in answers) == [400, 400, 503, 503, 503, 503]
        assert (await asked(place, "SELECT 1"))[0] == 200


async def test_hostile_texts_of_a_query_come_back_as_data(broker: Broker) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    async with fortress(broker) as place:
        status, answer = await asked(place, f"SELECT '{evil}' AS \"{evil}\"")
        assert (status, answer["columns"], answer["rows"]) == (200, [evil], [[evil]])
        status, answer = await asked(place, f'SELECT * FROM "{evil}"')
        assert status == 400
        async with place.client.post("/api/query", json={"sql": f'SELECT * FROM "{evil}"'}) as response:
            assert response.content_type == "application/json"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
