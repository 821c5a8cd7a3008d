"""The overview in Chromium: the topology with live rates, latency, where time goes, and what is wrong in words."""

from __future__ import annotations

from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from flows.web import Status, TaskStatus
from flows.web.base import ErrorStatus, Flow, LatencyStatus
from tests.web.airport import NEW_YEAR
from tests.web.browser import DESKTOP, PHONE, Browser
from tests.web.served import Served

pytestmark = pytest.mark.browser

BUSY: dict[str, Any] = {
    "records_per_second": 2400.0,
    "lag": 700,
    "memory": 300 * 1024 * 1024,
    "busy": 0.4,
    "stages": {"decode": 0.25, "agent": 0.5, "commit": 0.25},
    "tasks": tuple(
        TaskStatus(id=f"departures/{p}", state="running", worker="worker-1", lag=175, watermark=NEW_YEAR)
        for p in range(4)
    ),
    "flow": Flow(
        read={"departures": 1200.0, "airport-delays_by_carrier-repartition": 1100.0},
        written={"airport-delays_by_carrier-repartition": 1100.0, "alerts": 0.5},
        made={"departures.filter": 1150.0},
        changed={"late_streak": 900.0, "delays_by_carrier": 90.0},
    ),
    "latency": {
        "departures": LatencyStatus(p50=0.02, p99=0.2, records=100, histogram=((0.02, 60), (0.0315, 38), (0.2, 2)))
    },
}
RATES = (
    "return Object.fromEntries([...document.querySelectorAll('.arrow .rate')].map((n, i) => [i, n.textContent])"
    ".filter(([, text]) => text))"
)

LAYOUTS = """
  const done = arguments[arguments.length - 1];
  import("/static/js/topology/layout.js").then(({ layout }) => {
    let seed = 7;
    const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
    const found = { graphs: 0, overlaps: 0, outside: 0 };
    const [width, height] = [150, 50];
    for (let turn = 0; turn < 100; turn += 1) {
      const ids = Array.from({ length: 1 + random(30) }, (_, at) => `n${at}`);
      const one = () => ids[random(ids.length)];
      const edges = Array.from({ length: random(40) }, () => ({ source: one(), target: one() }));
      for (const along of ["x", "y"]) {
        const drawn = layout(ids, edges, { size: { width, height }, gap: { along: 60, across: 20 }, along });
        const boxes = [...drawn.boxes.values()];
        found.graphs += 1;
        boxes.forEach((a, at) => boxes.slice(0, at).forEach((b) => {
          if (Math.abs(a.x - b.x) < width - 0.01 && Math.abs(a.y - b.y) < height - 0.01) found.overlaps += 1;
        }));
        const within = (at, size, whole) => at > -0.01 && at + size < whole + 0.01;
        const inside = ({ x, y }) => within(x, width, drawn.width) && within(y, height, drawn.height);
        if (drawn.paths.length !== edges.length || !boxes.every(inside)) found.outside += 1;
      }
    }
    done(found);
  });
"""


@pytest.fixture
def page(browser: Browser, served: Served) -> Browser:
    """The overview of a busy worker."""
    served.become(**BUSY)
    browser.open(served.address)
    browser.until(lambda: len(browser.all(".node")) == 7)
    return browser


def names(browser: Browser) -> list[str]:
    return [node.text for node in browser.all(".topology .name")]


def test_the_page_opens_on_the_overview(page: Browser) -> None:
    assert page.script("return location.hash") == "#/overview"
    assert page.text("[aria-current=page]") == "Overview"
    assert sorted(names(page)) == [
        "airport-delays_by_…",
        "alerts",
        "delays_by_carrier",
        "departures",
        "departures.filter",
        "late_streak",
        "watch",
    ]


def test_arrows_carry_rates_and_boxes_lag(page: Browser, served: Served) -> None:
    page.until(lambda: "700 behind" in page.text(".topology"))
    rates = page.until(lambda: page.script(RATES))
    assert sorted(rates.values()) == sorted(["1,200/s", "1,150/s", "1,100/s", "1,100/s", "900/s", "0.5/s"])
    served.become(flow=Flow(read={"departures": 48_211.6}), lag=0, tasks=())
    page.until(lambda: list(page.script(RATES).values()) == ["48.2k/s"])
    assert "behind" not in page.text(".topology")


def test_latency_stages_memory_and_tasks_are_told(page: Browser) -> None:
    page.until(lambda: "p50 20 ms · p99 200 ms · 100 records" in page.text("[aria-label=Latency]"))
    assert len(page.all(".histogram .bars rect")) == 3
    legend = [item.text.split("\n") for item in page.all(".legend li")]
    assert [" ".join(parts) for parts in legend] == ["decode 25 %", "agent 50 %", "commit 25 %"]
    widths = page.script(
        "return [...document.querySelectorAll('.shares rect')].map(r => Number(r.getAttribute('width')))"
    )
    assert widths == [250, 500, 250]
    assert "300 MiB" in page.text("[aria-label=Memory]")
    assert page.rows()[0][:5] == ["departures/0", "running", "worker-1", "175", "2013-01-01 00:00"]
    assert page.rows()[0][5].endswith(" years")
    page.look("overview")


def test_it_says_in_words_what_is_wrong_and_what_to_do(page: Browser, served: Served) -> None:
    page.until(lambda: page.text(".advice").startswith("✓\nAll is well: 1 worker with 4 tasks processes 2,400"))
    served.become(lag=900_000, lag_growth=2000.0)
    said = "Falling behind: 900,000 records wait to be processed, 2,000 more each second."
    page.until(lambda: said in page.text(".advice"))
    assert page.find(".advice").get_attribute("data-level") == "bad"
    assert "An agent takes most of the time" in page.text(".advice")
    assert "Start more workers: 4 tasks run on 1 worker." in page.text(".advice")
    page.look("overview-behind", phone=False)
    page.find(".advice a").click()
    page.until(lambda: page.text("h1") == "Workers")


def test_errors_refused_and_late_records_are_listed(page: Browser, served: Served) -> None:
    served.become(
        errors=(ErrorStatus(step="worker", message="task departures/0: no broker", count=3, at=NEW_YEAR),),
        refused={"departures": 12},
        late={"delays_by_carrier": 4},
    )
    page.until(lambda: "no broker" in page.text("[aria-label^=Errors]"))
    lines = page.text("[aria-label^=Errors]")
    assert "3 times, 2013-01-01 00:00" in lines
    assert "departures: did not fit\n12 records" in lines
    assert "delays_by_carrier: too late\n4 records" in lines


def test_a_box_says_what_it_does_and_leads_to_its_table(page: Browser) -> None:
    page.find("[data-id=delays_by_carrier]").send_keys(Keys.ENTER)
    page.until(lambda: "table by carrier, tumbling(1h" in page.text(".chosen"))
    page.find(".chosen a").click()
    page.until(lambda: page.text("h1") == "delays_by_carrier")


def test_boxes_do_not_overlap_and_all_are_seen(page: Browser) -> None:
    for size in ((1280, 800), PHONE):
        page.resize(size)
        page.until(lambda: len(page.all(".node")) == 7)
        boxes = page.script(
            "return [...document.querySelectorAll('.node .shape')].map(n => n.getBBox())"
            ".map(b => [b.x, b.y, b.width, b.height])"
        )
        for at, (x, y, width, height) in enumerate(boxes):
            for left, top, _, _ in boxes[:at]:
                assert abs(x - left) >= width or abs(y - top) >= height
        assert page.script("return document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("lag_growth", [0.0, 2000.0], ids=["well", "behind"])
def test_text_is_readable_in_both_lights(page: Browser, served: Served, dark: bool, lag_growth: float) -> None:
    served.become(lag=900_000 if lag_growth else 0, lag_growth=lag_growth)
    page.resize(DESKTOP, dark=dark)
    level = "bad" if lag_growth else "good"
    page.until(lambda: page.find(".advice").get_attribute("data-level") == level)
    parts = [".saying strong", ".card h2", ".card h2 .quiet", ".chosen", ".legend li", ".lines li", ".lines .figure"]
    parts += [".tabs a", ".tabs [aria-current]", ".sheet th", ".sheet td", ".sheet [data-kind=good]", ".mark"]
    assert page.unreadable(*parts) == {}


def test_hostile_names_are_text_here_too(browser: Browser, served: Served) -> None:
    evil = "<img src=x onerror=\"window.hit='yes'\">"
    served.become(
        worker=evil,
        tasks=(TaskStatus(id=evil, state=evil, worker=evil),),
        errors=(ErrorStatus(step=evil, message=evil, at=9e9),),
        refused={evil: 1},
        refused_lately={evil: 1},
        stages={evil: 1.0},
        busy=1.0,
        late={evil: 1},
    )
    browser.open(served.address)
    browser.until(lambda: browser.rows() and browser.rows()[0][0] == evil)
    browser.until(lambda: evil in browser.text(".advice"))
    assert browser.script("return document.querySelectorAll('main img, main script').length") == 0
    assert browser.script("return window.hit ?? null") is None


def test_a_worker_without_a_word_of_rates_is_shown_too(browser: Browser, served: Served) -> None:
    served.become(**{name: getattr(Status(app="a", worker="w", started=0.0, ready=True), name) for name in BUSY})
    browser.open(served.address)
    browser.until(lambda: "No records in the last 10 s." in browser.text("main"))
    browser.until(lambda: "None since the worker started." in browser.text("main"))


def test_graphs_of_all_kinds_are_laid_out_without_overlap(page: Browser) -> None:
    """Random ones of up to 30 boxes, with circles, loops and boxes apart; each along both ways."""
    found = page.driver.execute_async_script(LAYOUTS)
    assert found == {"graphs": 200, "overlaps": 0, "outside": 0}


def test_a_restore_and_a_silent_worker_are_told(browser: Browser, served: Served) -> None:
    task = TaskStatus(id="departures/0", state="restoring", restored=0.25, done=250, total=1000, rate=50.0)
    served.become(ready=False, restored=0.25, tasks=(task,))
    browser.open(served.address + "/#/workers")
    browser.until(lambda: "restoring, 250 of 1,000, 50/s" in browser.text(".restoring"))
    assert browser.find("progress").get_attribute("value") == "0.25"
    browser.find("[data-page=overview]").click()
    said = "1 task being restored from the changelogs, 25 % done, about 15 s to go."
    browser.until(lambda: said in browser.text(".advice"))
