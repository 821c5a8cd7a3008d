"""The page of a real worker in Chromium: charts, SQL, topics, dead letters driven again, and a restart in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.web.browser import PHONE, Browser
from tests.web.stall import Stall, order

pytestmark = [pytest.mark.browser, pytest.mark.crash]

COUNTRIES = ("NO", "SE", "DK")
HOURS = 6


@pytest.fixture(scope="module")
def stall(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Stall]:
    """The worker of this file, with six hours of orders in three countries."""
    stall = Stall(tmp_path_factory.mktemp("market"))
    stall.start()
    stall.send(*(order(f"c{n % 7}", COUNTRIES[n // HOURS % 3], 1.0 + n % 7, n % HOURS) for n in range(90)))
    yield stall
    chromium.leave()
    stall.kill()


@pytest.fixture(autouse=True)
def leave(stall: Stall, browser: Browser) -> Iterator[None]:
    """Let no page complain of a worker that a later test restarts."""
    yield
    browser.leave()


def answers(browser: Browser) -> list[list[str]]:
    cells: list[list[str]] = browser.script(
        "return [...document.querySelectorAll('.result tbody tr')].map(row => [...row.cells].map(c => c.textContent))"
    )
    return cells


def test_the_overview_shows_what_flows(browser: Browser, stall: Stall) -> None:
    browser.open(stall.address)
    browser.until(lambda: len(browser.all(".node")) == 7)
    stall.send(*(order("flow", amount=0.0) for _ in range(500)))
    browser.until(lambda: browser.all(".arrow[data-live]"), "a rate on an arrow")
    browser.until(lambda: "p99" in browser.text("[aria-label=Latency] .quiet + .quiet, [aria-label=Latency] p"))
    browser.until(lambda: browser.all(".histogram .bars rect"), "a latency")
    browser.until(lambda: browser.text(".advice").startswith("✓\nAll is well"), "all is well")
    assert {row[1] for row in browser.rows()} == {"running"}


def test_a_chart_of_a_column_over_windows_follows_the_table(browser: Browser, stall: Stall) -> None:
    browser.open(stall.address + "/#/tables/sales")
    browser.until(lambda: browser.rows())
    browser.find(".tools button.field:not(.steps button)").click()
    browser.until(lambda: len(browser.all(".linechart path.line")) == 3, "a line for each country")
    Select(browser.find("[aria-label='Column to draw']")).select_by_value("revenue")
    browser.until(lambda: "chart=revenue" in browser.script("return location.hash"))
    browser.until(lambda: len(browser.all(".linechart circle")) == 3 * HOURS, "a dot for each hour")
    browser.find("[data-key=SE]").click()
    browser.until(lambda: len(browser.all(".linechart path.line")) == 2)
    assert [chip.text for chip in browser.all(".chip[aria-pressed=true]")] == ["DK", "NO"]
    browser.find(".linechart").send_keys(Keys.ARROW_LEFT)
    before = browser.until(lambda: browser.text(".readout"))
    assert before.startswith("2013-01-01 05:00 · ")
    stall.send(order("live", "NO", 5000.0, HOURS - 1))
    browser.until(lambda: browser.text(".readout") != before, "a line that moves with the table")
    browser.look("table-chart")


def test_questions_in_sql_are_answered_drawn_and_refreshed(browser: Browser, stall: Stall) -> None:
    browser.open(stall.address + "/#/sql")
    sql = "SELECT country, sum(orders) AS orders FROM sales GROUP BY country ORDER BY country"
    browser.type(".editor", sql)
    browser.find(".primary").click()
    browser.until(lambda: [row[0] for row in answers(browser)] == ["DK", "NO", "SE"])
    browser.find(".tools button[aria-pressed]").click()
    browser.until(lambda: len(browser.all(".bar")) == 3)
    Select(browser.find("[aria-label=Refresh]")).select_by_value("1")
    before = int(answers(browser)[2][1].replace(",", ""))
    stall.send(order("more", "SE"))
    browser.until(lambda: int(answers(browser)[2][1].replace(",", "")) == before + 1, "a refreshed answer")
    browser.type(".editor", "SELECT window_start, country, revenue FROM sales")
    browser.find(".editor").send_keys(Keys.CONTROL, Keys.ENTER)
    browser.until(lambda: len(browser.all(".picture .linechart path.line")) == 3)
    assert f"q={quote('SELECT window_start', safe='').replace('%20', '+')}" in browser.script("return location.hash")
    browser.look("sql")


def test_a_wrong_question_is_told_and_the_old_answer_stays(browser: Browser, stall: Stall) -> None:
    browser.open(f"{stall.address}/#/sql?q={quote('SELECT 7 AS seven')}")
    browser.until(lambda: answers(browser) == [["7"]])
    browser.type(".editor", "SELECT revenu FROM sales")
    browser.find(".primary").click()
    browser.until(lambda: "revenue" in browser.text(".problem"))
    assert answers(browser) == [["7"]]
    assert browser.find(".answer").get_attribute("data-stale") == ""
    browser.type(".editor", "SELECT * FROM read_csv('/etc/passwd')")
    browser.find(".primary").click()
    browser.until(lambda: "revenu" not in browser.text(".problem"))
    browser.look("sql-error", phone=False)
    browser.type(".editor", "SELECT '<b>x</b>' AS \"<i>\"")
    browser.find(".primary").click()
    browser.until(lambda: answers(browser) == [["<b>x</b>"]])
    assert not browser.find(".problem").is_displayed()
    assert browser.all(".result b, .result i") == []
    browser.errors()


def test_records_of_a_topic_come_are_filtered_and_inspected(browser: Browser, stall: Stall) -> None:
    browser.open(stall.address + "/#/topics/orders")
    browser.until(lambda: len(browser.rows()) > 50)
    stall.send(order("<i>newest</i>", "FI", 77.5))
    browser.until(lambda: browser.rows()[0][3] == "<i>newest</i>", "the newest record on top")
    browser.type("input[name=value]", "77.5")
    browser.until(lambda: [row[3] for row in browser.rows()] == ["<i>newest</i>"])
    browser.until(lambda: "value=77.5" in browser.script("return location.hash"))
    browser.find(".records tbody tr").send_keys(Keys.ENTER)
    shown = browser.until(lambda: (text := browser.text(".inspector")) and "FI" in text and text)
    assert "<i>newest</i>" in shown
    assert json.loads(browser.text(".inspector pre"))["amount"] == 77.5
    assert browser.all(".inspector i") == []
    browser.look("topic")


def test_a_dead_letter_goes_back_once_the_cause_is_mended(browser: Browser, stall: Stall) -> None:
    stall.send(order("mallory", amount=1500.0), order("mallory", amount=1.0))
    browser.open(stall.address + "/#/topics?dead=1")
    browser.until(lambda: len(browser.rows()) == 2, "two dead letters")
    why, step, origin = browser.rows()[0][1:4]
    assert "no customer <b>mallory</b>" in why
    assert step == "watch"
    assert origin.startswith("orders/")
    assert browser.all(".letters b") == []
    browser.look("dead-letters")
    browser.find(".letters tbody tr td").click()
    browser.until(lambda: '"customer": "mallory"' in browser.text(".inspector pre"))
    browser.find(".inspector button").click()

    stall.kill()
    browser.until(lambda: browser.text(".pill") == "Disconnected")
    stall.start(MARKET_MENDED="1")
    browser.until(lambda: browser.text(".pill") == "Live", "a page that is live again")
    browser.until(lambda: browser.text("#notice") == "The worker was restarted; connected again.")

    browser.until(lambda: browser.find(".letters button").is_displayed())
    browser.find(".letters button").click()
    browser.until(lambda: browser.text(".note[role=status]") == "1 record went back.")
    browser.until(lambda: len(browser.rows()) == 1, "one that is left")
    browser.find(".letters button").click()
    browser.until(lambda: "none" not in browser.text(".title") and browser.rows() == [], "none that waits")
    browser.script("location.hash = '#/tables/spent?key=mallory'")
    browser.until(lambda: browser.rows() == [["mallory", "1,501.00"]], "what the agent made of both")
    browser.errors()


def test_all_dead_letters_go_back_at_once_when_one_is_sure(browser: Browser, stall: Stall) -> None:
    stall.kill()
    stall.start()
    stall.send(*(order("mallory", amount=1.0) for _ in range(3)))
    browser.open(stall.address + "/#/topics?dead=1")
    browser.until(lambda: len(browser.rows()) == 3)
    browser.find(".tools .primary").click()
    browser.until(lambda: browser.text("dialog h2") == "Drive all 3 again?")
    browser.press(Keys.ESCAPE)
    assert len(browser.rows()) == 3
    browser.find(".tools .primary").click()
    browser.find("dialog .primary").click()
    # The agent is not mended: each comes back as another dead letter.
    browser.until(lambda: browser.text(".note[role=status]") == "3 records went back, 2 had been before.")
    browser.until(lambda: "8 records in all, 5 driven again" in browser.text(".title"))


def test_agents_timers_workers_and_tasks_are_told(browser: Browser, stall: Stall) -> None:
    browser.open(stall.address + "/#/workers")
    browser.until(lambda: len(browser.rows("[aria-label=Tasks]")) == 4)
    browser.until(lambda: browser.rows("[aria-label=Agents]"))
    assert browser.rows("[aria-label=Agents]")[0][:4] == ["watch", "orders", "vips", "spent"]
    assert browser.rows("[aria-label=Timers]")[0][:3] == ["tidy", "every 60 min", "in one worker"]
    (worker,) = browser.rows("[aria-label=Workers]")
    assert worker[2] == "4"
    assert worker[7] == stall.address
    browser.look("workers")


@pytest.mark.parametrize(
    "place", ["overview", "tables/sales?chart=revenue", "sql?q=SELECT+1", "topics/orders", "workers"]
)
def test_each_page_fits_on_a_phone(browser: Browser, stall: Stall, place: str) -> None:
    browser.open(f"{stall.address}/#/{place}", PHONE)
    browser.until(
        lambda: browser.text(".pill") == "Live" and browser.script("return document.querySelector('main').innerText")
    )
    assert browser.script("return document.documentElement.scrollWidth") <= PHONE[0]


def test_a_flood_of_records_leaves_the_newest_on_top(browser: Browser, stall: Stall) -> None:
    browser.open(stall.address + "/#/topics/orders")
    browser.until(lambda: browser.rows())
    stall.send(*(order(f"flood-{n % 5}", amount=0.0) for n in range(3000)))
    stall.send(order("last", amount=0.0))
    browser.until(lambda: browser.rows()[0][3] == "last", "the newest on top")
    assert len(browser.rows()) <= 300
    browser.type("input[name=key]", "flood-3")
    browser.until(lambda: {row[3] for row in browser.rows()} == {"flood-3"})
