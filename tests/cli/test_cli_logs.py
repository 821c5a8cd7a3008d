"""Log lines: for people, and for machines."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings

import pytest

from flows.logs import set_up_logs

pytestmark = pytest.mark.usefixtures("quiet_logging")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_for_people() -> None:
    out = io.StringIO()
    set_up_logs("info", stream=out)
    logging.getLogger("flows.commit").info("committed %s rows", 3)
    logging.getLogger("flows.commit").debug("not shown")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} info    flows\.commit  committed 3 rows\n", out.getvalue())


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    set_up_logs("info", stream=out)
    logging.getLogger("flows").error("x")
    assert "\x1b[31merror" in out.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    set_up_logs("info", stream=plain)
    logging.getLogger("flows").error("x")
    assert "\x1b" not in plain.getvalue()


def test_json_lines_with_extra_fields_and_errors() -> None:
    out = io.StringIO()
    set_up_logs("debug", as_json=True, stream=out)
    logging.getLogger("flows.task").debug("restored %d", 7, extra={"task": "departures/0", "odd": object})
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        logging.getLogger("flows").exception("failed")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["message"] == "restored 7"
    assert (first["level"], first["logger"], first["task"]) == ("debug", "flows.task", "departures/0")
    assert first["time"].endswith("+00:00")
    assert "ValueError: line one" in second["error"]


def test_warnings_are_logged_and_libraries_kept_quiet() -> None:
    out = io.StringIO()
    set_up_logs("info", stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old habit", stacklevel=1)
    logging.getLogger("asyncio").info("noise")
    logging.getLogger("aiohttp.access").info("noise")
    logging.getLogger("asyncio").warning("slow callback")
    assert "old habit" in out.getvalue()
    assert "slow callback" in out.getvalue()
    assert "noise" not in out.getvalue()
