"""Plans as people read them: text, Mermaid and JSON of whole modules, each held by a golden file."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from dsl.plan.explain import explain_json, explain_mermaid, explain_text, plan_from_json
from dsl.plan.fingerprint import plan_hash
from dsl.plan.graph import Plan
from tests.golden import assert_golden

HERE = Path(__file__).parent
MODULES = sorted(path.stem for path in (HERE / "modules").glob("*.py"))
FORMS = {"txt": explain_text, "mmd": explain_mermaid, "json": explain_json}


def plan_of(module: str) -> Plan:
    found = importlib.import_module(f"tests.plans.modules.{module}").app.plan()
    assert isinstance(found, Plan)
    return found


def test_there_are_modules() -> None:
    assert len(MODULES) >= 8


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("module", MODULES)
def test_plan_is_explained(module: str, form: str) -> None:
    assert_golden(HERE / "golden" / f"{module}.{form}", FORMS[form](plan_of(module)))


@pytest.mark.parametrize("module", MODULES)
def test_json_reads_back(module: str) -> None:
    plan = plan_of(module)
    again = plan_from_json(explain_json(plan))
    assert again == plan
    # A plan's equality takes 1 for 1.0 in a literal; the texts do not.
    assert explain_json(again) == explain_json(plan)
    assert plan_hash(again) == plan_hash(plan)


@pytest.mark.parametrize("module", MODULES)
def test_every_step_is_shown_once_in_text(module: str) -> None:
    plan = plan_of(module)
    text = explain_text(plan)
    steps = [s for sub in plan.subtopologies for s in sub.steps] + [n.id for n in plan.steps_outside()]
    assert len(steps) == len(set(steps))
    for step in steps:
        assert sum(line[12:].split(":")[0].split(" <- ")[0] == step for line in text.splitlines()) == 1, step


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{module}.{form}" for module in MODULES for form in FORMS}
    assert {path.name for path in (HERE / "golden").iterdir()} == wanted
