"""Two real workers on one broker: whichever is asked, the answer is that of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.web.workers import Harbour, arrival

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHIPS = 60
TABLES = ("by_port", "by_ship", "visits")
SQL = """SELECT p.port, p.window_start, p.tons, count(*) OVER () AS n, (SELECT sum(value) FROM visits) AS visits,
         (SELECT sum(tons) FROM by_ship) AS all_tons FROM by_port p ORDER BY 1, 2"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Harbour, list[str]]]:
    """Two workers that have processed the arrivals of sixty ships."""
    async with Harbour(tmp_path_factory.mktemp("harbour")) as harbour:
        await harbour.send(arrival(n) for n in range(SHIPS))
        addresses = [await harbour.start(), await harbour.start()]
        await harbour.until_shared()
        await harbour.until_all(addresses, SHIPS)
        yield harbour, addresses


async def both(pair: tuple[Harbour, list[str]], path: str, sql: str | None = None, **parameters: str) -> Any:
    """Ask both; return what they agree on."""
    harbour, addresses = pair
    one, other = [await harbour.ask(address, path, sql, **parameters) for address in addresses]
    assert one == other
    return one


@pytest.mark.parametrize("table", TABLES)
async def test_rows(pair: tuple[Harbour, list[str]], table: str) -> None:
    harbour, addresses = pair
    told = await both(pair, f"/api/tables/{table}", limit="5000")
    assert told["missing"] == []
    parts = [await harbour.ask(a, f"/api/tables/{table}", limit="5000", scope="local") for a in addresses]
    assert sorted(map(str, told["rows"])) == sorted(str(row) for part in parts for row in part["rows"])
    keys = [(-row.get("window_start", 0), row[told["keys"][0]]) for row in told["rows"]]
    assert keys == sorted(keys), "newest window first, then by key, as one worker would answer"


async def test_each_alone_has_a_part_only(pair: tuple[Harbour, list[str]]) -> None:
    harbour, addresses = pair
    for address in addresses:
        parts = [await harbour.ask(address, f"/api/tables/{table}", limit="5000", scope="local") for table in TABLES]
        assert 0 < sum(len(part["rows"]) for part in parts) < 2 * SHIPS + 21


async def test_rows_are_what_arrived(pair: tuple[Harbour, list[str]]) -> None:
    told = await both(pair, "/api/tables/by_ship", limit="5000")
    assert told["rows"] == [{"ship": f"ship-{n:03}", "tons": n} for n in range(SHIPS)]
    assert len((await both(pair, "/api/tables/by_ship", limit="7"))["rows"]) == 7
    assert (await both(pair, "/api/tables/by_ship", limit="7"))["rows"] == told["rows"][:7]
    found = await both(pair, "/api/tables/by_ship", key="-03")
    assert [row["tons"] for row in found["rows"]] == list(range(30, 40))


async def test_windows(pair: tuple[Harbour, list[str]]) -> None:
    told = await both(pair, "/api/tables/by_port/windows")
    assert len(told["starts"]) == 3
    assert told["starts"] == sorted(told["starts"], reverse=True)
    newest = await both(pair, "/api/tables/by_port", window="newest")
    assert newest["selected"] == told["starts"][0]
    assert {row["window_start"] for row in newest["rows"]} == {told["starts"][0]}
    assert len(newest["rows"]) == 7


async def test_sql(pair: tuple[Harbour, list[str]]) -> None:
    told = await both(pair, "/api/query", SQL)
    assert told["missing"] == []
    tons = sum(range(SHIPS))
    assert sum(row[2] for row in told["rows"]) == tons
    assert {tuple(row[3:]) for row in told["rows"]} == {(21, SHIPS, tons)}


@pytest.mark.parametrize("ship", [f"ship-{n:03}" for n in range(6)])
async def test_a_key_is_found_at_its_owner(pair: tuple[Harbour, list[str]], ship: str) -> None:
    number = int(ship[-3:])
    for table, key, row in (
        ("by_ship", {"ship": ship}, {"ship": ship, "tons": number}),
        ("visits", {"key": ship}, {"key": ship, "value": 1}),
    ):
        assert (await both(pair, f"/api/tables/{table}/lookup", **key))["rows"] == [row]
    ports = await both(pair, "/api/tables/by_port/lookup", port=arrival(number)["port"])
    assert {row["port"] for row in ports["rows"]} == {arrival(number)["port"]}
    assert len(ports["rows"]) == 3
    newest = await both(pair, "/api/tables/by_port/lookup", port=arrival(number)["port"], window="newest")
    assert newest["rows"] == ports["rows"][:1]
    assert (await both(pair, "/api/tables/by_ship/lookup", ship="ship-00"))["rows"] == []


async def test_who_holds_what_is_told(pair: tuple[Harbour, list[str]]) -> None:
    harbour, addresses = pair
    tables = await both(pair, "/api/tables")
    ids = {m.id for m in await harbour.members()}
    for table in tables:
        assert [h["partition"] for h in table["holders"]] == [0, 1, 2, 3]
        assert {h["state"] for h in table["holders"]} == {"running"}
        assert {h["worker"] for h in table["holders"]} <= ids
    assert {h["worker"] for table in tables for h in table["holders"]} == ids
    for address in addresses:
        status = await harbour.ask(address, "/api/status")
        assert [w["here"] for w in status["workers"]] == [True, False]
        assert status["workers"][0]["worker"] == status["worker"]
        assert {w["worker"] for w in status["workers"]} == ids
        assert sorted(t["id"] for w in status["workers"] for t in w["tasks"]) == sorted(
            f"{part}/{p}" for part in ("arrivals", "by_port") for p in range(4)
        )
        assert all(t["worker"] == w["worker"] for w in status["workers"] for t in w["tasks"])
        assert status["unheld"] == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/tables?scope=mine", "scope is 'mine'; expected 'cluster' or 'local'"),
        ("/api/tables/by_ship/lookup", "the key column 'ship' is not given"),
        ("/api/tables/by_ship/lookup?shp=x", "no key column 'shp'; did you mean 'ship'?"),
        ("/api/tables/by_ship/lookup?ship=x&window=newest", "table 'by_ship' has no windows"),
        ("/api/tables/by_ship/entries", "expected whole numbers with commas between"),
        ("/api/tables/by_ship/entries?partitions=1,-2", "expected whole numbers with commas between"),
        ("/api/tables/by_ship/entries?partitions=1&exact=xyz", "exact is no hexadecimal text"),
    ],
)
async def test_a_wrong_question_is_told(pair: tuple[Harbour, list[str]], path: str, words: str) -> None:
    harbour, addresses = pair
    async with harbour.client.get(addresses[0] + path) as response:
        assert response.status == 400
        assert words in (await response.json())["error"]
