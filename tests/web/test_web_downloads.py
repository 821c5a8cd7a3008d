"""Tables as files: what is in them is what the API tells, in each format, with hostile values too."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl
import pytest
from aiohttp import ClientSession
from yarl import URL

from flows.query.base import Missing
from flows.web import Limits
from flows.web.exports import chosen, pieces
from tests.web.airport import HOUR, NEW_YEAR, Site, airport

PATH = "/api/tables/delays_by_carrier/download"


async def got(client: ClientSession, path: str, **query: Any) -> bytes:
    async with client.get(path, params=query) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def rows(client: ClientSession, **query: Any) -> list[dict[str, Any]]:
    async with client.get("/api/tables/delays_by_carrier", params=query) as response:
        found: list[dict[str, Any]] = (await response.json())["rows"]
        return found


def in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: (row["carrier"], float(row["window_start"])))


@pytest.mark.parametrize(
    "query", [{}, {"window": "newest"}, {"key": "A"}, {"key": "U", "window": str(NEW_YEAR + HOUR)}, {"key": "none"}]
)
async def test_each_format_has_the_rows_of_the_api(client: ClientSession, query: dict[str, str]) -> None:
    wanted = in_order(await rows(client, **query))
    as_json = msgspec.json.decode(await got(client, PATH, format="json", **query))
    assert in_order(as_json) == wanted
    parquet = pl.read_parquet(io.BytesIO(await got(client, PATH, format="parquet", **query)))
    assert in_order(parquet.to_dicts()) == wanted
    text = (await got(client, PATH, **query)).decode()
    assert in_order([{**row} for row in csv.DictReader(io.StringIO(text))]) == [
        {name: str(value) for name, value in row.items()} for row in wanted
    ]


async def test_it_says_what_it_is(client: ClientSession) -> None:
    async with client.get(PATH) as response:
        assert response.content_type == "text/csv"
        assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''delays_by_carrier.csv"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_hostile_name_of_a_table_stays_a_name(site: Site) -> None:
    name = 'a"\r\nSet-Cookie: b=1;/../ü'
    site.tables.add(name, ("key",), {"value": "int"})
    site.tables.put(name, {"key": "x", "value": 1})
    server = site.server()
    async with ClientSession(await server.start()) as client:
        url = URL(f"/api/tables/{quote(name, safe='')}/download", encoded=True)
        async with client.get(url) as response:
            assert response.status == 200
            assert "Set-Cookie" not in response.headers
            assert response.headers["Content-Disposition"].isascii()
    await server.stop()


async def test_no_file_lacks_rows_in_silence(site: Site, client: ClientSession) -> None:
    site.tables.missing = [Missing(table="delays_by_carrier", partition=1, worker=None, reason="nobody holds it")]
    async with client.get(PATH) as response:
        assert response.status == 503
        assert "partition 1 of 'delays_by_carrier' is missing (nobody holds it)" in (await response.json())["error"]
    assert len(await got(client, PATH, partial="1")) > 100


@pytest.mark.parametrize(
    ("query", "words"),
    [("format=xls", "expected csv, json, parquet"), ("window=x", "expected its start"), ("limit=1", "no parameter")],
)
async def test_a_wrong_question_is_told(client: ClientSession, query: str, words: str) -> None:
    async with client.get(f"{PATH}?{query}") as response:
        assert response.status == 400
        assert words in (await response.json())["error"]


async def test_no_more_downloads_than_the_limit() -> None:
    server = airport().server(limits=Limits(downloads=0))
    async with ClientSession(await server.start()) as client, client.get(PATH) as response:
        assert response.status == 503
        assert "0 downloads are open" in (await response.json())["error"]
    await server.stop()


ODD = pl.DataFrame(
    {
        "key": ['"', "a,b", "line\nbreak", "=1+1", None],
        "whole": pl.Series([2**70, 1, None, -5, 0], dtype=pl.Int128),
        "list": [[1, 2], [], None, [3], [4]],
        "struct": [{"a": "x", "b": None}] * 5,
        "bytes": [b"text", b"\xff", b"", None, b"z"],
        "share": [0.5, None, -0.0, 1e300, 2.0],
    }
)


async def whole(frame: pl.DataFrame, how: str) -> bytes:
    return b"".join([piece async for piece in pieces(frame, how)])


async def test_odd_values_have_a_place_in_each_format() -> None:
    read = list(csv.DictReader(io.StringIO((await whole(ODD, "csv")).decode())))
    assert [row["key"] for row in read] == ['"', "a,b", "line\nbreak", "=1+1", ""]
    assert [row["whole"] for row in read[:2]] == [str(2**70), "1"]
    assert [row["list"] for row in read] == ["[1,2]", "[]", "", "[3]", "[4]"]
    assert read[0]["struct"] == '{"a":"x","b":null}'
    assert [row["bytes"] for row in read] == ["text", "/w==", "", "", "z"]
    told = msgspec.json.decode(await whole(ODD, "json"))
    assert [row["whole"] for row in told] == [str(2**70), 1, None, -5, 0]
    parquet = pl.read_parquet(io.BytesIO(await whole(ODD, "parquet")))
    assert parquet["whole"].to_list() == [Decimal(2**70), Decimal(1), None, Decimal(-5), Decimal(0)]
    assert parquet["list"].to_list() == ODD["list"].to_list()


@pytest.mark.parametrize("how", ["csv", "json", "parquet"])
@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 41_000])
async def test_all_pieces_together_are_all_rows(how: str, count: int) -> None:
    frame = pl.DataFrame({"n": range(count), "text": [f"row {n}" for n in range(count)]})
    data = await whole(frame, how)
    if how == "json":
        found = [row["n"] for row in msgspec.json.decode(data)]
    elif how == "csv":
        found = [int(row["n"]) for row in csv.DictReader(io.StringIO(data.decode()))]
    else:
        found = pl.read_parquet(io.BytesIO(data))["n"].to_list()
    assert found == list(range(count))


def test_rows_are_chosen_by_window_and_key() -> None:
    frame = pl.DataFrame({"k": ["ab", "b", "c"], "window_start": [0.0, 60.0, 60.0]})
    assert chosen(frame, ("k",), "b", None)["k"].to_list() == ["ab", "b"]
    assert chosen(frame, ("k",), "b", 60.0)["k"].to_list() == ["b"]
    assert chosen(frame, ("k",), None, 1.0).height == 0
