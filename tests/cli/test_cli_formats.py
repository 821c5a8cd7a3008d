from __future__ import annotations

import csv
import datetime as dt
import io
import json
import uuid
from decimal import Decimal

import pytest

from flows.cli.formats import as_csv, as_json, show_rows

COLUMNS = ["carrier", "window_start", "mean", "extra"]
ROWS = [
    ("AA", 1357016400.0, 2.123456789, {"a": [1, None]}),
    ("Ü,\n", 0.0, float("nan"), None),
    (None, None, Decimal("0.5"), dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)),
]


def test_json_is_an_array_of_objects() -> None:
    found = json.loads(as_json(COLUMNS, ROWS))
    assert found[0] == {"carrier": "AA", "window_start": 1357016400.0, "mean": 2.123456789, "extra": {"a": [1, None]}}
    assert found[1]["mean"] is None
    assert found[2]["mean"] == 0.5
    assert found[2]["extra"] == "2013-01-01T05:00:00Z"
    assert as_json(COLUMNS, []) == "[]"
    assert json.loads(as_json(["b"], [(b"text",), (b"\xff",)])) == [{"b": "text"}, {"b": "/w=="}]
    assert json.loads(as_json(["u"], [(uuid.UUID(int=1),)])) == [{"u": str(uuid.UUID(int=1))}]


def test_csv_has_a_header_and_reads_back() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(COLUMNS, ROWS))))
    assert rows[0] == COLUMNS
    assert rows[1] == ["AA", "1357016400.0", "2.123456789", '{"a":[1,null]}']
    assert rows[2] == ["Ü,\n", "0.0", "nan", ""]
    assert rows[3] == ["", "", "0.5", "2013-01-01T05:00:00Z"]
    assert as_csv(COLUMNS, []) == "carrier,window_start,mean,extra\n"


def test_a_table_shows_windows_as_times(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(COLUMNS, [ROWS[0], ("[b]x", None, 3, "y")], "table")
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == COLUMNS
    assert lines[1].split(maxsplit=4) == ["AA", "2013-01-01", "05:00:00Z", "2.12346", '{"a":[1,null]}']
    assert lines[2].split() == ["[b]x", "3", "y"]
    assert err == "(2 rows)\n"
