"""Headless Chromium for tests: the fixture `browser`, and the few things a test does with a page.

Use it from any test file by `from tests.web.browser import Browser, browser, chromium`; the fixture `browser` needs
`chromium` beside it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

Found = TypeVar("Found")

DEADLINE = 20.0
POLL = 0.02
DESKTOP = (1280, 800)
PHONE = (390, 844)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


_CONTRAST = """
  const light = (text) => {
    const parts = text.match(/[0-9.]+/g).map(Number);
    const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return { alpha: parts[3] ?? 1, y: 0.2126 * part(parts[0]) + 0.7152 * part(parts[1]) + 0.0722 * part(parts[2]) };
  };
  const behind = (node) => {
    const own = light(getComputedStyle(node).backgroundColor);
    return own.alpha ? own.y : behind(node.parentElement);
  };
  return arguments[0].map((selector) => {
    const node = document.querySelector(selector);
    const [a, b] = [light(getComputedStyle(node).color).y, behind(node)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
"""


class Browser:
    """One Chromium; every wait ends as soon as what it waits for is there."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str, size: tuple[int, int] = DESKTOP, *, dark: bool = False) -> None:
        """Load a page in a window of this size, after forgetting the last one."""
        self.leave()
        self.errors()
        self.resize(size, dark=dark)
        self.driver.get(address)

    def leave(self) -> None:
        """Go to an empty page; do so before a server goes away, or the page complains of that."""
        self.driver.get("about:blank")

    def resize(self, size: tuple[int, int], *, dark: bool = False) -> None:
        """Show the page as on a screen of this size, in light colours or dark ones."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def find(self, selector: str) -> WebElement:
        """Wait for an element."""
        return self.until(lambda: next(iter(self.all(selector)), None), f"an element {selector!r}")

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements there are now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return the visible text of the first such element."""
        return self.find(selector).text

    def rows(self, grid: str = ".grid") -> list[list[str]]:
        """Return the texts of a table's cells, row by row."""
        cells: list[list[str]] = self.script(
            "return [...document.querySelectorAll(`${arguments[0]} tbody tr`)]"
            ".map(row => [...row.cells].map(cell => cell.textContent))",
            grid,
        )
        return cells

    def press(self, *keys: str) -> None:
        """Type keys at whatever has the focus."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def type(self, selector: str, text: str) -> None:
        """Replace an input's text."""
        field = self.find(selector)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.DELETE, text)

    def script(self, code: str, *arguments: Any) -> Any:
        """Run JavaScript in the page."""
        return self.driver.execute_script(code, *arguments)

    def until(self, condition: Callable[[], Found | None], what: str = "the condition") -> Found:
        """Wait for something true and return it; fails with the page's text and its errors."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            try:
                found = condition()
            except StaleElementReferenceException:
                continue
            if found:
                return found
            # Asking without a pause would take the processor from the page that is waited for.
            time.sleep(POLL)
        body = self.script("return document.body.innerText")
        raise AssertionError(f"{what} did not come about in {DEADLINE} s; page:\n{body}\nerrors: {self.errors()}")

    def errors(self) -> list[str]:
        """Return what the page complained of since the last call: exceptions, refused content, failed requests."""
        entries: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def screenshot(self, path: Path) -> None:
        """Keep a picture of the page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))

    def unreadable(self, *selectors: str) -> dict[str, float]:
        """Return the contrast of texts that have less than the 4.5 of WCAG 2.1 AA, by selector."""
        ratios: list[float] = self.script(_CONTRAST, selectors)
        return {selector: ratio for selector, ratio in zip(selectors, ratios, strict=True) if ratio < 4.5}

    def look(self, name: str, *, phone: bool = True) -> None:
        """Keep pictures in both lights, and of a phone, where TEST_SCREENSHOTS names a folder for them, as in CI."""
        folder = os.environ.get("TEST_SCREENSHOTS")
        if folder is None:
            return
        for light, dark in (("light", False), ("dark", True)):
            self.resize(DESKTOP, dark=dark)
            self.screenshot(Path(folder) / f"{name}-{light}.png")
        if phone:
            self.resize(PHONE)
            self.screenshot(Path(folder) / f"{name}-phone.png")
        self.resize(DESKTOP)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium once; fails, and does not skip, where it is missing."""
    options = Options()
    options.binary_location = _program("chromium", "FLOWS_CHROMIUM")
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(_program("chromedriver", "FLOWS_CHROMEDRIVER"))
    driver = webdriver.Chrome(options, service)
    driver.set_script_timeout(DEADLINE)
    yield Browser(driver)
    driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser with an empty page, which must have complained of nothing at the end of the test.

    A test that expects complaints takes them by `browser.errors()`.
    """
    chromium.open("about:blank")
    yield chromium
    chromium.leave()
    assert chromium.errors() == [], "the page complained"


def _program(name: str, variable: str) -> str:
    path = os.environ.get(variable) or shutil.which(name)
    if path is None:
        pytest.fail(
            f"the browser tests need {name}: apt-get install chromium chromium-driver, or set {variable} to its path"
        )
    return path
