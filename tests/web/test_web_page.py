"""The live page in Chromium: what a person sees of tables that change."""

from __future__ import annotations

import json
import urllib.request

import polars as pl
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.web.airport import HOUR, NEW_YEAR, delay
from tests.web.browser import Browser
from tests.web.served import Served

pytestmark = pytest.mark.browser

LIT = "return [...document.querySelectorAll('.lit-a, .lit-b')].map(cell => cell.textContent)"


@pytest.fixture
def page(browser: Browser, served: Served) -> Browser:
    """The first table's page, with its rows."""
    browser.open(served.address + "/#/tables")
    shows(browser, [["AA", "3", "4.25"], ["B6", "3", "4.25"], ["UA", "3", "4.25"]])
    return browser


def shows(browser: Browser, rows: list[list[str]]) -> None:
    browser.until(lambda: browser.rows() == rows, f"the rows {rows}, not {browser.rows()},")


def carriers(browser: Browser) -> list[str]:
    return [row[0] for row in browser.rows()]


def hash_of(browser: Browser) -> str:
    return str(browser.script("return location.hash"))


def test_tables_open_on_the_first_with_the_list_at_their_side(page: Browser) -> None:
    names = [link.text for link in page.all(".tablelink")]
    assert names == ["delays_by_carrier\ntumbling 1h", "late_streak\ndictionary"]
    assert page.text("h1") == "delays_by_carrier"
    assert page.text(".bounds") == "2013-01-01 02:00 – 03:00 UTC · newest"
    assert page.text(".count") == "3 rows"
    assert [head.text for head in page.all(".grid th")] == ["carrier", "flights", "mean_delay"]
    assert page.driver.title == "airport · Flows"


def test_the_header_tells_app_worker_rate_and_lag(page: Browser, served: Served) -> None:
    assert page.text(".brand-name") == "airport"
    assert page.text(".brand-worker") == "worker-1"
    assert page.text(".pill") == "Live"
    assert [figure.text for figure in page.all(".metric dd")] == ["48,212", "1,234", "2013-01-01 00:00"]
    served.become(ready=False, restored=0.425, records_per_second=0.0)
    page.until(lambda: page.text(".pill") == "Restoring 42 %")
    assert page.text(".metric dd") == "0"


def test_changed_cells_change_and_light_up(page: Browser, served: Served) -> None:
    assert page.script(LIT) == []
    served.put("delays_by_carrier", delay("B6", 2, flights=4))
    shows(page, [["AA", "3", "4.25"], ["B6", "4", "4.25"], ["UA", "3", "4.25"]])
    assert page.script(LIT) == ["4"]


def test_rows_come_in_order_and_go(page: Browser, served: Served) -> None:
    served.put("delays_by_carrier", delay("DL", 2, mean_delay=None))
    page.until(lambda: carriers(page) == ["AA", "B6", "DL", "UA"])
    assert page.rows()[2] == ["DL", "3", "–"]
    assert page.text(".count") == "4 rows"
    served.do(served.site.tables.remove, "delays_by_carrier", delay("AA", 2))
    page.until(lambda: carriers(page) == ["B6", "DL", "UA"])


def test_an_empty_table_fills(browser: Browser, served: Served) -> None:
    served.do(served.site.tables.add, "a_first", ("id",), {"n": "int"}, "tumbling 1m")
    browser.open(served.address + "/#/tables")
    browser.until(lambda: browser.text(".empty") == "No rows yet. They appear here as they are committed.")
    served.put("a_first", {"id": "x", "window_start": 60.0, "window_end": 120.0, "n": 1})
    shows(browser, [["x", "1"]])
    browser.until(lambda: browser.text(".bounds") == "1970-01-01 00:01 – 00:02 UTC · newest")
    assert not browser.find(".empty").is_displayed()


def test_a_key_filters_rows_and_changes(page: Browser, served: Served) -> None:
    page.type("input[type=search]", "A")
    page.until(lambda: carriers(page) == ["AA", "UA"])
    assert hash_of(page) == "#/tables/delays_by_carrier?key=A"
    served.put("delays_by_carrier", delay("B6", 2, flights=99), delay("UA", 2, flights=5))
    shows(page, [["AA", "3", "4.25"], ["UA", "5", "4.25"]])
    page.type("input[type=search]", "nobody")
    page.until(lambda: page.text(".empty") == "No key here contains “nobody”.")
    page.press(Keys.ESCAPE)
    page.until(lambda: carriers(page) == ["AA", "B6", "UA"])
    assert page.rows()[1][1] == "99"


def test_the_newest_window_is_followed(page: Browser, served: Served) -> None:
    served.put("delays_by_carrier", delay("UA", 3, flights=1), delay("AA", 2, flights=50))
    shows(page, [["UA", "1", "4.25"]])
    page.until(lambda: page.text(".bounds") == "2013-01-01 03:00 – 04:00 UTC · newest")
    served.put("delays_by_carrier", delay("AA", 3, flights=2))
    shows(page, [["AA", "2", "4.25"], ["UA", "1", "4.25"]])


def test_a_chosen_window_stays(page: Browser, served: Served) -> None:
    window = Select(page.find("select"))
    page.until(lambda: len(window.options) == 5)
    assert [option.text for option in window.options[2:]] == [
        "2013-01-01 02:00 – 03:00",
        "2013-01-01 01:00 – 02:00",
        "2013-01-01 00:00 – 01:00",
    ]
    window.select_by_index(3)
    page.until(lambda: page.text(".bounds") == "2013-01-01 01:00 – 02:00 UTC")
    assert hash_of(page) == f"#/tables/delays_by_carrier?window={NEW_YEAR + HOUR:.0f}"
    served.put("delays_by_carrier", delay("AA", 9, flights=70), delay("AA", 1, flights=71))
    shows(page, [["AA", "71", "4.25"], ["B6", "3", "4.25"], ["UA", "3", "4.25"]])
    page.driver.refresh()
    shows(page, [["AA", "71", "4.25"], ["B6", "3", "4.25"], ["UA", "3", "4.25"]])
    assert page.text(".bounds") == "2013-01-01 01:00 – 02:00 UTC"


def test_windows_are_walked_with_the_arrows(page: Browser) -> None:
    older, newer = "[aria-label='Older window']", "[aria-label='Newer window']"
    page.until(lambda: page.find(older).is_enabled())
    assert not page.find(newer).is_enabled()
    page.find(older).click()
    page.until(lambda: page.text(".bounds") == "2013-01-01 01:00 – 02:00 UTC")
    page.find(older).click()
    page.until(lambda: page.text(".bounds") == "2013-01-01 00:00 – 01:00 UTC")
    assert not page.find(older).is_enabled()
    page.find(newer).click()
    page.until(lambda: page.text(".bounds") == "2013-01-01 01:00 – 02:00 UTC")


def test_all_windows_have_a_column_of_their_bounds(page: Browser) -> None:
    Select(page.find("select")).select_by_value("all")
    page.until(lambda: len(page.rows()) == 9)
    assert page.rows()[0] == ["AA", "2013-01-01 02:00 – 03:00", "3", "4.25"]
    assert page.rows()[8] == ["UA", "2013-01-01 00:00 – 01:00", "3", "4.25"]
    page.find(".grid th:nth-child(2) button").click()
    page.until(lambda: page.rows()[0][1] == "2013-01-01 00:00 – 01:00")


def test_columns_sort_down_up_and_back(page: Browser, served: Served) -> None:
    served.put("delays_by_carrier", delay("B6", 2, flights=100), delay("UA", 2, flights=20, mean_delay=None))
    page.find(".grid th:nth-child(2) button").click()
    page.until(lambda: carriers(page) == ["B6", "UA", "AA"])
    assert page.find(".grid th:nth-child(2)").get_attribute("aria-sort") == "descending"
    page.find(".grid th:nth-child(2) button").click()
    page.until(lambda: carriers(page) == ["AA", "UA", "B6"])
    assert hash_of(page) == "#/tables/delays_by_carrier?sort=flights%3Aasc"
    served.put("delays_by_carrier", delay("B6", 2, flights=1))
    page.until(lambda: carriers(page) == ["B6", "AA", "UA"])
    page.find(".grid th:nth-child(2) button").click()
    page.until(lambda: carriers(page) == ["AA", "B6", "UA"])
    page.find(".grid th:nth-child(3) button").click()
    page.until(lambda: carriers(page)[-1] == "UA")


def test_the_links_download_the_same_rows(page: Browser) -> None:
    page.type("input[type=search]", "AA")
    page.until(lambda: carriers(page) == ["AA"])
    files = {}
    for link in page.all(".downloads a"):
        with urllib.request.urlopen(link.get_attribute("href") or "") as answer:
            files[link.text] = answer.read()
    assert json.loads(files["JSON"]) == [delay("AA", 2)]
    assert pl.read_csv(files["CSV"]).to_dicts() == [delay("AA", 2)]
    assert pl.read_parquet(files["Parquet"]).to_dicts() == [delay("AA", 2)]


def test_tables_change_by_link_and_the_back_button(page: Browser) -> None:
    page.find("[data-name=late_streak]").click()
    shows(page, [["JFK", "2"], ["LGA", "0"]])
    assert page.find(".tablelink[aria-current]").get_attribute("data-name") == "late_streak"
    assert page.all("select") == []
    page.driver.back()
    page.until(lambda: carriers(page) == ["AA", "B6", "UA"])
    page.script("location.hash = '#/tables/gone%ZZ'")
    page.until(lambda: page.text("h1") == "There is no such table")
    page.script("location.hash = '#/nowhere'")
    page.until(lambda: page.text("h1") == "There is no such page")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (2**53 + 1, "int", "9007199254740993"),
        (-1234567, "int", "-1,234,567"),
        (53.0, "float", "53.00"),
        (0.00123456, "float", "0.00123"),
        (float("nan"), "float", "–"),
        (True, "bool", "true"),
        ({"a": [1]}, "dict", '{"a":[1]}'),
    ],
)
def test_values_read_well(browser: Browser, served: Served, value: object, kind: str, text: str) -> None:
    served.do(served.site.tables.add, "a_first", ("key",), {"value": kind})
    served.put("a_first", {"key": "k", "value": value})
    browser.open(served.address + "/#/tables")
    shows(browser, [["k", text]])


def test_hostile_names_keys_and_values_are_text(browser: Browser, served: Served) -> None:
    evil = "<img src=x onerror=\"window.hit='yes'\">"
    served.do(served.site.tables.add, f"a{evil}", ("key",), {"value": evil})
    served.put(f"a{evil}", {"key": evil, "value": {evil: "</script><script>window.hit=1</script>"}})
    served.become(app=evil, worker="<b>w</b>")
    browser.open(served.address + "/#/tables")
    browser.until(lambda: browser.rows() and browser.rows()[0][0] == evil)
    browser.until(lambda: browser.text(".brand-name") == evil)
    browser.type("input[type=search]", "<img")
    browser.until(lambda: "key=%3Cimg" in hash_of(browser))
    browser.until(lambda: carriers(browser) == [evil])
    assert browser.text("h1") == f"a{evil}"
    assert browser.script("return document.querySelectorAll('main img, nav img, b, main script').length") == 0
    assert browser.script("return window.hit ?? null") is None


def test_markup_is_refused_by_the_browser_itself(page: Browser) -> None:
    refused = "try { document.body.innerHTML = '<b>x</b>'; return 'taken' } catch (error) { return error.name }"
    assert page.script(refused) == "TypeError"
    assert any("TrustedHTML" in error for error in page.errors())


def test_it_is_used_by_keyboard_alone(page: Browser) -> None:
    def focus() -> str:
        return str(page.script("return document.activeElement.textContent || document.activeElement.ariaLabel"))

    page.press(Keys.TAB)
    assert focus() == "Skip to the content"
    page.press(Keys.TAB)
    assert focus() == "Overview"
    page.press(Keys.ARROW_RIGHT)
    assert focus() == "Tables"
    page.press(*[Keys.TAB] * 4)
    assert focus().startswith("delays_by_carrier")
    page.press(Keys.ARROW_DOWN)
    assert focus().startswith("late_streak")
    page.press(Keys.ENTER)
    shows(page, [["JFK", "2"], ["LGA", "0"]])
    page.press("/")
    assert focus() == "Filter by key"
    page.press("G", "/")
    page.until(lambda: "key=G%2F" in hash_of(page))
    page.press(Keys.BACKSPACE)
    shows(page, [["LGA", "0"]])
    page.press(Keys.ESCAPE, Keys.TAB)
    assert focus() == "CSV"
    shows(page, [["JFK", "2"], ["LGA", "0"]])
    page.press(*[Keys.TAB] * 4)
    assert focus() == "key"
    page.press(Keys.ENTER, Keys.ENTER)
    shows(page, [["LGA", "0"], ["JFK", "2"]])


def test_the_skip_link_leads_to_the_table_and_not_away(page: Browser) -> None:
    page.press(Keys.TAB, Keys.ENTER)
    page.until(lambda: page.script("return document.activeElement.id") == "main")
    assert hash_of(page) == "#/tables/delays_by_carrier"
    assert carriers(page) == ["AA", "B6", "UA"]


def test_a_page_in_the_background_asks_for_nothing(page: Browser, served: Served) -> None:
    def hide(state: str) -> None:
        page.script(
            "const later = window.setTimeout;"
            "window.setTimeout = (call, time) => later(call, time === 10000 ? 0 : time);"
            f"Object.defineProperty(document, 'hidden', {{value: {state}, configurable: true}});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )

    hide("true")
    page.until(lambda: not served.site.tables.hub.wanted("delays_by_carrier"))
    served.put("delays_by_carrier", delay("AA", 2, flights=8))
    assert page.rows()[0][1] == "3"
    hide("false")
    page.until(lambda: page.rows()[0][1] == "8")
