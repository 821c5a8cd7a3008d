"""What the pages list is what there is: settings with their defaults, commands, public names, expressions."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import flows
from flows.cli.commands import COMMANDS
from flows.settings import Settings
from flows.web import api
from flows.web.gateway import endpoints as gateway_endpoints
from tests.docs.blocks import ROOT


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_every_setting_is_described_with_its_default() -> None:
    shown = {row[0].split("`")[1]: row[1] for row in rows(page("docs/operating.md"), "Settings")}
    fields = {f.name: f.default for f in msgspec.structs.fields(Settings)}
    assert list(shown) == list(fields)
    for name, default in fields.items():
        if name != "data":
            wanted = "none" if default is None else f"`{str(default).lower() if default in (True, False) else default}`"
            assert shown[name] == wanted, name


def test_settings_with_an_option_of_their_own_are_marked() -> None:
    marked = {row[0].split("`")[1] for row in rows(page("docs/operating.md"), "Settings") if row[0].endswith("*")}
    helped = (ROOT / "tests/cli/golden/help-worker.txt").read_text("utf-8")
    options = {m.replace("-", "_") for m in re.findall(r"--([a-z-]+)", helped)}
    options = {"log_level" if o == "loglevel" else o for o in options}
    assert marked == options & set(Settings.__struct_fields__)


def test_every_command_is_described() -> None:
    shown = [row[0].split("`")[1].split()[1] for row in rows(page("docs/operating.md"), "Commands")]
    assert sorted(shown) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(flows.__all__))
def test_every_public_name_is_described(name: str) -> None:
    types_of_results = {
        "DictTable",
        "Expr",
        "GlobalTable",
        "KeyTimer",
        "SetTable",
        "Stream",
        "Table",
        "Topic",
        "Window",
        "WindowedSetTable",
        "WindowedTable",
    }
    if name not in types_of_results:
        assert re.search(rf"\b{name}\b", page("docs/language.md")), f"docs/language.md does not tell of flows.{name}"


def test_every_method_of_expressions_is_described() -> None:
    told = page("docs/language.md").split("## Expressions")[1].split("\n## ")[0]
    methods = {m for m in vars(flows.Expr) if not m.startswith("_") and m != "node"}
    assert {m for m in methods if not re.search(rf"\b{m}\b", told)} == set()


def test_the_page_of_the_api_lists_all_that_can_be_asked() -> None:
    told = {row[0].strip("`") for row in rows(page("docs/api.md"), "What can be asked")}
    asked = [*api.endpoints(), *gateway_endpoints()]
    assert told == {f"{endpoint.method} {endpoint.path}" for endpoint in asked}


def test_every_page_of_the_docs_is_listed_in_the_readme() -> None:
    listed = set(re.findall(r"\(docs/([\w-]+\.md)\)", page("README.md")))
    assert listed == {p.name for p in Path(ROOT / "docs").glob("*.md")}


def test_the_module_in_the_readme_stays_short() -> None:
    module = page("README.md").split("```python file=flow.py\n")[1].split("```")[0]
    assert len([line for line in module.splitlines() if line.strip()]) <= 30
