from __future__ import annotations

from pathlib import Path

import pytest

from dsl.plan.explain import explain_json, explain_text, plan_from_json
from dsl.plan.mermaid import explain_mermaid
from flows.discovery import find_app
from tests.cli.conftest import Run


def test_the_plan_in_each_form(airport: Path, run: Run) -> None:
    plan = find_app("airport", environ={}, folder=airport).plan()
    assert run("topology").stdout == explain_text(plan)
    assert run("topology", "--format", "mermaid").stdout == explain_mermaid(plan)
    assert run("topology", "-A", "airport.py", "--format", "json").stdout == explain_json(plan)
    assert plan_from_json(run("topology", "--format", "json").stdout) == plan


def test_tables_are_listed_before_any_worker_ran(airport: Path, run: Run) -> None:
    shown = run("tables")
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["table", "delays", "in_a_row"]
    assert "window_start: float" in shown.stdout
    assert not (airport / ".flows").exists()


@pytest.mark.parametrize("how", ["json", "csv"])
def test_tables_for_machines(airport: Path, run: Run, how: str) -> None:
    shown = run("tables", "--format", how)
    assert '"in_a_row"' in shown.stdout or "\nin_a_row,dictionary," in shown.stdout
