"""Who may import whom, held by reading the imports of every file; and how long a file may be."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import flows

ROOT = Path(__file__).parents[1]
STAGES = {"brokers", "source", "decode", "route", "operate", "state", "emit", "sink", "query", "web"}
"""The rooms of `flows/` that a record passes; they know each other by their `base` modules only."""

FOUNDATION = {"errors", "clock", "metrics", "latency", "tracing", "lateness"}
"""Modules of `flows/` that every room may use, and that use no room."""

PLAN_MAY_USE = {"errors", "window", "durations"}
LONGEST = 350


def modules(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> list[str]:
    """Return the full names that a file imports, wherever in the file it does."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    return list(imported(path.read_text(encoding="utf-8"), package))


def imported(source: str, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (_target(module, alias.name) for alias in node.names)


def _target(module: str, name: str) -> str:
    """Name what `from module import name` imports: a module where there is one of that name, else its module."""
    inner = ROOT.joinpath(*module.split("."), name)
    return f"{module}.{name}" if inner.is_dir() or inner.with_suffix(".py").exists() else module


def wrong(path: Path, allowed: tuple[str, ...], of: tuple[str, ...] = ("dsl", "flows")) -> list[str]:
    def inside(name: str, rooms: tuple[str, ...]) -> bool:
        return any(name == room or name.startswith(f"{room}.") for room in rooms)

    return [name for name in imports(path) if inside(name, of) and not inside(name, allowed)]


@pytest.mark.parametrize("path", modules("dsl"), ids=name_of)
def test_the_language_does_not_know_the_engine(path: Path) -> None:
    assert wrong(path, ("dsl",)) == []


@pytest.mark.parametrize("path", modules("dsl/plan"), ids=name_of)
def test_the_plan_does_not_know_how_it_was_declared(path: Path) -> None:
    assert wrong(path, ("dsl.plan", *(f"dsl.{name}" for name in PLAN_MAY_USE))) == []


@pytest.mark.parametrize("path", [p for room in sorted(STAGES) for p in modules(f"flows/{room}")], ids=name_of)
def test_rooms_know_each_other_by_their_base(path: Path) -> None:
    room = path.relative_to(ROOT).parts[1]
    bases = [f"flows.{other}.base" for other in STAGES]
    assert wrong(path, ("dsl", f"flows.{room}", *bases, *(f"flows.{name}" for name in FOUNDATION))) == []


@pytest.mark.parametrize("name", sorted(FOUNDATION))
def test_the_foundation_uses_no_room(name: str) -> None:
    places = [ROOT / "flows" / f"{name}.py", *(ROOT / "flows" / name).rglob("*.py")]
    for path in filter(Path.exists, places):
        assert wrong(path, ("dsl", *(f"flows.{n}" for n in FOUNDATION))) == []


def test_no_file_is_too_long() -> None:
    lengths = {name_of(p): len(p.read_text("utf-8").splitlines()) for p in modules("dsl", "flows", "tests", "examples")}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_module_tells_its_place() -> None:
    trees = {name_of(path): ast.parse(path.read_text("utf-8")) for path in modules("dsl", "flows")}
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_every_public_name_is_listed() -> None:
    named = {name for name, value in vars(flows).items() if not (name.startswith("_") or isinstance(value, ModuleType))}
    assert named == set(flows.__all__)
    assert list(flows.__all__) == sorted(flows.__all__)


@pytest.mark.parametrize("name", flows.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(flows, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        undocumented = [
            method
            for method, value in vars(thing).items()
            if not method.startswith("_") and inspect.isfunction(value) and not inspect.getdoc(value)
        ]
        assert undocumented == []


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import flows.web.gateway", "flows.web.gateway"),
        ("from flows.state.base import Store", "flows.state.base"),
        ("from flows.state import base", "flows.state.base"),
        ("def f():\n    from flows import state", "flows.state"),
        ("from . import base", "flows.state.base"),
        ("from ..web import server", "flows.web"),
        ("if TYPE_CHECKING:\n    from dsl import App", "dsl"),
    ],
)
def test_the_reader_of_imports_sees_all_forms(line: str, name: str) -> None:
    """The tests above would pass if it saw nothing."""
    assert [found.removesuffix(".server") for found in imported(line, "flows.state")] == [name]
