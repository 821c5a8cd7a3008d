"""The tables' API: what it answers, and how it refuses."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession

from tests.web.airport import HOUR, NEW_YEAR, Site, delay


async def get(client: ClientSession, path: str, status: int = 200) -> Any:
    async with client.get(path) as response:
        assert response.content_type == "application/json"
        assert response.status == status, await response.text()
        return await response.json()


async def test_lists_the_tables_by_name(client: ClientSession) -> None:
    tables = await get(client, "/api/tables")
    assert [table["name"] for table in tables] == ["delays_by_carrier", "late_streak"]
    assert tables[0]["kind"] == "declared"
    assert tables[0]["columns"][0] == ["carrier", "str"]
    assert tables[0]["window"] == "tumbling 1h"


async def test_rows_carry_the_description_of_their_table(client: ClientSession) -> None:
    table = await get(client, "/api/tables/late_streak")
    assert table["rows"] == [{"key": "JFK", "value": 2}, {"key": "LGA", "value": 0}]
    assert (table["name"], table["columns"]) == ("late_streak", [["key", "str"], ["value", "int"]])
    assert (table["window"], table["selected"]) == (None, None)


async def test_rows_come_newest_window_first(client: ClientSession) -> None:
    table = await get(client, "/api/tables/delays_by_carrier?limit=4")
    assert [row["window_start"] for row in table["rows"]] == [NEW_YEAR + 2 * HOUR] * 3 + [NEW_YEAR + HOUR]
    assert table["limit"] == 4


async def test_a_key_is_searched_in_the_key_columns_only(client: ClientSession, site: Site) -> None:
    site.tables.put("late_streak", {"key": "2", "value": 7})
    table = await get(client, "/api/tables/late_streak?key=2")
    assert table["rows"] == [{"key": "2", "value": 7}]


@pytest.mark.parametrize(("asked", "hour"), [(f"{NEW_YEAR + HOUR}", 1), ("newest", 2)])
async def test_a_window_is_chosen_by_its_start_or_as_the_newest(client: ClientSession, asked: str, hour: int) -> None:
    table = await get(client, f"/api/tables/delays_by_carrier?window={asked}&key=UA")
    assert table["rows"] == [delay("UA", hour)]
    assert table["selected"] == NEW_YEAR + hour * HOUR


async def test_newest_of_an_empty_table_is_no_row(client: ClientSession, site: Site) -> None:
    site.tables.add("empty", ("id",), {"n": "int"}, "tumbling 1m")
    table = await get(client, "/api/tables/empty?window=newest")
    assert (table["rows"], table["selected"]) == ([], None)


async def test_windows_are_listed_newest_first(client: ClientSession) -> None:
    windows = await get(client, "/api/tables/delays_by_carrier/windows?limit=2")
    assert windows == {
        "name": "delays_by_carrier",
        "window": "tumbling 1h",
        "starts": [NEW_YEAR + 2 * HOUR, NEW_YEAR + HOUR],
        "missing": [],
    }


@pytest.mark.parametrize("path", ["/api/tables/nope", "/api/tables/nope/windows", "/api/tables/nope/changes"])
async def test_an_unknown_table_is_404_and_names_the_known(client: ClientSession, path: str) -> None:
    error = await get(client, path, 404)
    assert error == {"error": "there is no table 'nope'; tables: delays_by_carrier, late_streak"}


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nope", "/nope", "/api/tables/a/b/c"])
async def test_an_unknown_path_is_404_as_json(client: ClientSession, path: str) -> None:
    assert await get(client, path, 404) == {"error": f"there is nothing at {path}"}


@pytest.mark.parametrize("limit", ["0", "-1", "10001", "1.5", "ten", "9" * 5000, "١٠", "1e3"])
async def test_a_limit_outside_its_bounds_is_refused(client: ClientSession, limit: str) -> None:
    error = await get(client, f"/api/tables/late_streak?limit={limit}", 400)
    assert "expected a whole number from 1 to 10000" in error["error"]


@pytest.mark.parametrize("window", ["nan", "inf", "-inf", "yesterday", "1;2", "0x10"])
async def test_a_window_that_is_no_time_is_refused(client: ClientSession, window: str) -> None:
    error = await get(client, f"/api/tables/delays_by_carrier?window={window}", 400)
    assert "expected its start in seconds since the epoch" in error["error"]


async def test_a_window_of_a_table_without_is_refused(client: ClientSession) -> None:
    error = await get(client, "/api/tables/late_streak?window=newest", 400)
    assert error == {"error": "table 'late_streak' has no windows; leave out window"}


async def test_a_key_too_long_to_be_meant_is_refused(client: ClientSession) -> None:
    error = await get(client, f"/api/tables/late_streak?key={'k' * 501}", 400)
    assert "501 characters" in error["error"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (b"text", "text"),
        (b"\xff\x00", "/wA="),
        (dt.datetime(2013, 1, 1, tzinfo=dt.UTC), "2013-01-01T00:00:00Z"),
        (dt.date(2013, 1, 1), "2013-01-01"),
        (dt.timedelta(seconds=90), "PT90S"),
        (Decimal("1.10"), "1.10"),
        (np.float64("nan"), None),
        (np.int64(7), 7),
        (2**53 + 1, 2**53 + 1),
        (2**70, str(2**70)),
        ({"a": [math.nan, b"\xff"], 1: {2}}, {"a": [None, "/w=="], "1": [2]}),
        ("é\ud800", "é?"),
        (object, str(object)),
    ],
)
async def test_any_value_has_a_place_in_json(client: ClientSession, site: Site, value: Any, shown: Any) -> None:
    site.tables.put("late_streak", {"key": "odd", "value": value})
    table = await get(client, "/api/tables/late_streak?key=odd")
    assert table["rows"] == [{"key": "odd", "value": shown}]


async def test_a_hostile_key_stays_data(client: ClientSession, site: Site) -> None:
    key = "<img src=x onerror=alert(1)>\r\nX-Evil: 1"
    site.tables.put("late_streak", {"key": key, "value": 1})
    async with client.get("/api/tables/late_streak", params={"key": "<img"}) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "X-Evil" not in response.headers
        assert (await response.json())["rows"] == [{"key": key, "value": 1}]


async def test_a_failure_inside_is_told_without_its_insides(
    client: ClientSession, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_args: Any, **_options: Any) -> list[Any]:
        raise RuntimeError("/var/lib/secret")

    monkeypatch.setattr(site.tables, "rows", broken)
    error = await get(client, "/api/tables/late_streak", 500)
    assert error == {"error": "the worker could not answer; its log says why"}
    assert "/var/lib/secret" in caplog.text
