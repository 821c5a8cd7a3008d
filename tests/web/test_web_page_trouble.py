"""The live page in Chromium when things go wrong, or go fast: lost workers, tokens, floods, small screens."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from flows.web import Limits
from tests.web.airport import HOUR, NEW_YEAR, airport, delay
from tests.web.browser import DESKTOP, PHONE, Browser
from tests.web.served import Served

pytestmark = pytest.mark.browser

FRAMES = """
  window.frames_ = 0; window.gap_ = 0; window.values_ = new Set(); window.long_ = [];
  new PerformanceObserver((list) => window.long_.push(...list.getEntries().map((task) => task.duration)))
    .observe({ type: "longtask" });
  let last = performance.now();
  const frame = (now) => {
    window.frames_ += 1;
    window.gap_ = Math.max(window.gap_, now - last);
    last = now;
    window.values_.add(document.querySelector('.grid tbody td:nth-child(2)')?.textContent);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
"""


def carriers(browser: Browser) -> list[str]:
    return [row[0] for row in browser.rows()]


def test_a_restarted_worker_is_found_again_and_said(browser: Browser, served: Served) -> None:
    browser.open(served.address + "/#/tables")
    browser.until(lambda: carriers(browser) == ["AA", "B6", "UA"])
    served.stop()
    browser.until(lambda: browser.text(".pill") == "Disconnected")
    assert browser.text("#notice") == "Connection lost: the worker does not answer. Trying again…"
    assert carriers(browser) == ["AA", "B6", "UA"]
    served.become(started=2000.0)
    served.put("delays_by_carrier", delay("AA", 2, flights=77))
    served.start()
    browser.until(lambda: browser.text("#notice") == "The worker was restarted; connected again.")
    browser.until(lambda: browser.text(".pill") == "Live")
    browser.until(lambda: browser.rows()[0][1] == "77")
    served.put("delays_by_carrier", delay("AA", 2, flights=78))
    browser.until(lambda: browser.rows()[0][1] == "78")
    assert all("net::ERR_" in error for error in browser.errors())


def test_a_worker_that_hangs_is_not_called_live(browser: Browser, served: Served) -> None:
    browser.open(served.address + "/#/tables")
    browser.until(lambda: browser.text(".pill") == "Live")
    browser.script("const timeout = AbortSignal.timeout; AbortSignal.timeout = () => timeout.call(AbortSignal, 300)")
    goes_on = threading.Event()
    served.site.hangs = goes_on
    browser.until(
        lambda: browser.text("#notice") == "Connection lost: the worker takes too long to answer. Trying again…"
    )
    assert browser.text(".pill") == "Disconnected"
    goes_on.set()
    browser.until(lambda: browser.text(".pill") == "Live")
    browser.until(lambda: browser.text("#notice") == "Connected again.")


def test_a_worker_that_comes_back_with_other_tables_shows_them(browser: Browser, served: Served) -> None:
    browser.open(served.address + "/#/tables/late_streak")
    browser.until(lambda: carriers(browser) == ["JFK", "LGA"])
    served.stop()
    browser.until(lambda: browser.text(".pill") == "Disconnected")
    served.become(started=2000.0)
    served.do(served.site.tables.add, "new_table", ("id",), {"n": "int"})
    served.start()
    browser.until(lambda: len(browser.all(".tablelink")) == 3)
    browser.until(lambda: carriers(browser) == ["JFK", "LGA"])
    browser.errors()


def test_a_worker_with_a_token_asks_for_it(browser: Browser, serve: Callable[..., Served]) -> None:
    served = serve(airport(), token="open sesame")
    browser.open(served.address + "/#/tables")
    browser.type("dialog input", "wrong")
    browser.find("dialog button").click()
    browser.until(lambda: browser.find("dialog input").get_property("value") == "")
    browser.type("dialog input", "open sesame")
    browser.find("dialog button").click()
    browser.until(lambda: carriers(browser) == ["AA", "B6", "UA"])
    assert browser.all("dialog") == []
    served.put("delays_by_carrier", delay("AA", 2, flights=12))
    browser.until(lambda: browser.rows()[0][1] == "12")
    assert "sesame" not in browser.driver.current_url
    assert all("401" in error for error in browser.errors())


def test_too_many_streams_are_told_at_the_table(browser: Browser, serve: Callable[..., Served]) -> None:
    served = serve(airport(), limits=Limits(streams=0))
    browser.open(served.address + "/#/tables")
    browser.until(lambda: "These rows are not live: 0 change streams are open" in browser.text("main"))
    assert all("503" in error for error in browser.errors())


def test_more_rows_than_anyone_reads_are_counted_and_not_drawn(browser: Browser, served: Served) -> None:
    served.put("late_streak", *({"key": f"k{n:05}", "value": n} for n in range(2000)))
    browser.open(served.address + "/#/tables/late_streak?sort=value:desc")
    browser.until(lambda: browser.text(".count") == "first 200 of 2,002 rows")
    assert len(browser.rows()) == 200
    assert browser.rows()[0] == ["k01999", "1,999"]
    assert "The first 200 are drawn." in browser.text("main")
    browser.find(".note button").click()
    browser.until(lambda: len(browser.rows()) == 400)
    served.put("late_streak", *({"key": f"k{n:05}", "value": n} for n in range(2000, 7000)))
    browser.until(lambda: browser.text(".count") == "first 400 of 5,000+ rows")
    assert "The worker has more rows than a page can follow" in browser.text("main")
    browser.until(lambda: browser.rows()[0] == ["k06999", "6,999"])


def test_a_flood_past_the_bound_ends_in_the_right_rows(browser: Browser, serve: Callable[..., Served]) -> None:
    served = serve(airport(bound=50))
    browser.open(served.address + "/#/tables")
    browser.until(lambda: carriers(browser) == ["AA", "B6", "UA"])
    for turn in range(20):
        served.put("delays_by_carrier", *(delay(f"C{n:03}", 3, flights=turn) for n in range(200)))
    browser.until(lambda: len(browser.rows()) == 200)
    browser.until(lambda: {row[1] for row in browser.rows()} == {"19"})


def test_a_thousand_changes_a_second_leave_it_responsive(browser: Browser, served: Served) -> None:
    """Bounds are on progress: frames go on, numbers go on, and a filter typed meanwhile works."""
    keys = [f"C{n:03}" for n in range(400)]
    served.put("delays_by_carrier", *(delay(key, 2, flights=0) for key in keys))
    browser.open(served.address + "/#/tables/delays_by_carrier?sort=mean_delay:desc")
    browser.until(lambda: len(browser.rows()) == 200)
    browser.script(FRAMES)
    flood = threading.Thread(target=_flood, args=(served, keys))
    flood.start()
    try:
        browser.until(lambda: browser.script("return window.values_.size") >= 8, "eight different numbers")
        frames, gap, long = browser.script("return [window.frames_, window.gap_, window.long_]")
        told = f"{len(long)} tasks above 50 ms, the longest {max(long, default=0):.0f} ms"
        print(f"{frames} frames, longest gap {gap:.0f} ms; {told}")
        assert frames >= 16
        assert gap < 2000
        browser.type("input[type=search]", "C39")
        browser.until(lambda: len(browser.rows()) == 10)
    finally:
        flood.join()
    browser.until(lambda: {row[1] for row in browser.rows()} == {"40"})


def _flood(served: Served, keys: list[str]) -> None:
    """A hundred changes every tenth of a second, as forty commits of the same keys."""
    tick = threading.Event()
    for turn in range(1, 41):
        part = keys[turn % 4 :: 4] if turn < 40 else keys
        served.put("delays_by_carrier", *(delay(key, 2, turn, float(hash((key, turn)) % 100)) for key in part))
        tick.wait(0.1)


@pytest.mark.parametrize("window", ["newest", "all"])
def test_a_phone_shows_it_all_without_sideways_scrolling(browser: Browser, served: Served, window: str) -> None:
    served.do(served.site.tables.add, "days", ("city", "street"), {"visits_of_all_kinds": "int"}, "hopping 24h by 6h")
    bounds = {"window_start": NEW_YEAR, "window_end": NEW_YEAR + 24 * HOUR}
    served.put("days", {"city": "Llanfairpwllgwyngyll" * 3, "street": "x", "visits_of_all_kinds": 1, **bounds})
    browser.open(f"{served.address}/#/tables/days?window={window}", PHONE)
    browser.until(lambda: browser.rows())
    assert browser.script("return document.documentElement.scrollWidth") <= PHONE[0]
    for selector in (".pill", ".tablelink", "input[type=search]", "select", "a.json", ".grid"):
        box = browser.find(selector).rect
        assert box["x"] >= 0, selector
        assert box["x"] + box["width"] <= PHONE[0], selector
        assert box["y"] + min(box["height"], 100) <= PHONE[1], selector
    browser.find("[data-name=late_streak]").click()
    browser.until(lambda: carriers(browser) == ["JFK", "LGA"])


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_is_readable_in_both_lights(browser: Browser, served: Served, size: tuple[int, int], dark: bool) -> None:
    browser.open(served.address + "/#/tables", size, dark=dark)
    browser.until(lambda: browser.rows() and browser.text(".pill") == "Live")
    ground = browser.script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 200) == dark
    parts = ["h1", ".quiet", ".bounds", ".count", "a.json", ".grid td", ".grid th button", ".tablelink-kind"]
    parts += [".tablelink[aria-current] .tablelink-name", ".brand-worker", ".metric dt", ".pill", "input", "select"]
    assert browser.unreadable(*parts) == {}
