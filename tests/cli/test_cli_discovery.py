"""Finding the app: every way to name it, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsl.errors import DeclarationError
from flows.discovery import ModuleFailed, NoAppFound, find_app
from flows.errors import UsageError

APP = 'import flows\napp = flows.App("{}")\n'


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "target",
    ["airport", "airport:app", "airport.py", "./airport.py", "flows_pkg", "flows_pkg.flow", "flows_pkg/flow.py:app",
     "folder", "folder/", "folder:app", "nested/deep", "pack"],
)  # fmt: skip
def test_every_way_to_name_it(folder: Path, target: str) -> None:
    expected = target.removesuffix(":app").removesuffix("/").removesuffix(".py").removeprefix("./")
    expected = {"flows_pkg.flow": "flows_pkg", "flows_pkg/flow": "flows_pkg"}.get(expected, expected).replace("/", ".")
    write(
        folder,
        {
            "airport.py": APP.format("airport"),
            "flows_pkg/__init__.py": "",
            "flows_pkg/names.py": 'NAME = "flows_pkg"\n',
            "flows_pkg/flow.py": "import flows\nfrom flows_pkg.names import NAME\napp = flows.App(NAME)\n",
            "folder/some.py": "from helper import NAME\nfrom flows import App\napp = App(NAME)\n",
            "folder/helper.py": 'NAME = "folder"\n',
            "nested/deep/app.py": APP.format("nested.deep"),
            "nested/deep/other.py": APP.format("other"),
            "pack/__init__.py": "from .inner import app\n",
            "pack/inner/__init__.py": APP.format("pack"),
        },
    )
    assert find_app(target, environ={}, folder=folder).id == expected


def test_the_order_of_sources(folder: Path) -> None:
    write(folder, {f"{n}.py": APP.format(n) for n in ("named", "by_environment", "by_project")})
    write(folder, {"pyproject.toml": '[tool.flows]\napp = "by_project"\n'})
    environ = {"FLOWS_APP": "by_environment:app"}
    assert find_app("named", environ=environ, folder=folder).id == "named"
    assert find_app(environ=environ, folder=folder).id == "by_environment"
    assert find_app(environ={}, folder=folder).id == "by_project"
    below = folder / "below"
    below.mkdir()
    assert find_app(environ={}, folder=below).id == "by_project"


def test_the_only_flow_module_is_found_without_running_others(folder: Path) -> None:
    write(
        folder,
        {
            "flow_one.py": "import flows as f\nthing = f.App('one')\n",
            "setup.py": "raise SystemExit('not a flow module')\n",
            "other.py": "class App: pass\napp = App()\n",
            "broken.py": "def App(:\n",
            "web.py": "from fastapi import App\napp = App()\n",
        },
    )
    assert find_app(environ={}, folder=folder).id == "one"


def test_a_module_whose_name_is_taken(folder: Path) -> None:
    write(folder, {"json.py": APP.format("mine"), "sub/airport.py": APP.format("sub"), "airport.py": APP.format("top")})
    assert find_app("json.py", environ={}, folder=folder).id == "mine"
    assert find_app("airport", environ={}, folder=folder).id == "top"
    assert find_app("sub/airport.py", environ={}, folder=folder).id == "sub"


def test_no_app_says_what_was_looked_at(folder: Path) -> None:
    with pytest.raises(NoAppFound) as told:
        find_app(environ={}, folder=folder)
    for looked_at in ("FLOWS_APP", "[tool.flows]", str(folder), "-A module[:app]"):
        assert looked_at in str(told.value)


def test_several_apps_are_named(folder: Path) -> None:
    write(folder, {"a.py": APP.format("a"), "b.py": APP.format("b"), "many/c.py": APP.format("c")})
    write(folder, {"many/d.py": APP.format("d"), "two.py": 'import flows\nx = flows.App("x")\ny = flows.App("y")\n'})
    with pytest.raises(UsageError, match=r"several flow modules in .*: a.py, b.py, two.py; choose one: -A a"):
        find_app(environ={}, folder=folder)
    with pytest.raises(UsageError, match=r"'many' has several flow modules: c.py, d.py; choose one: -A many/c.py"):
        find_app("many", environ={}, folder=folder)
    with pytest.raises(UsageError, match=r"two.py has several apps: x, y; choose one: -A …:x"):
        find_app("two", environ={}, folder=folder)
    assert find_app("two:y", environ={}, folder=folder).id == "y"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("airprt", r"there is no module 'airprt' in .*; did you mean -A airport\?"),
        ("nothing.like.it", r"there is no module 'nothing.like.it'"),
        ("airport:ap", r"airport.py has no 'ap'; did you mean 'app'\?"),
        ("airport:number", r"int, not a flows.App, is its 'number'; did you mean 'app'\?"),
        ("missing.py", r"there is no file or folder 'missing.py'"),
        ("./missing", r"there is no file or folder './missing'"),
        ("empty", r"folder 'empty' has no flow module"),
        ("./notes.txt", r"notes.txt is no Python file"),
        ("plain", r"plain.py has no app; make one"),
    ],
)
def test_names_that_lead_nowhere(folder: Path, target: str, words: str) -> None:
    write(folder, {"airport.py": APP.format("a") + "number = 3\n", "plain.py": "", "notes.txt": "", "empty/x.txt": ""})
    with pytest.raises(UsageError, match=words):
        find_app(target, environ={}, folder=folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "import flows\nx = 1 / 0\n",
            r"broken(.py)? cannot be imported: ZeroDivisionError: .*broken.py:2: x = 1 / 0\)",
        ),
        ("import nothing_such\n", r"ModuleNotFoundError: No module named 'nothing_such' .*broken.py:1"),
        ("def f(:\n", r"SyntaxError: .*broken.py"),
        ("raise SystemExit(3)\n", r"ended the program .*if __name__"),
        ("import json\njson.loads('{')\n", r"JSONDecodeError: .*broken.py:2: json.loads"),
    ],
)
@pytest.mark.parametrize("target", ["broken", "broken.py"])
def test_a_module_that_fails_is_told_by_its_own_line(folder: Path, target: str, text: str, words: str) -> None:
    write(folder, {"broken.py": text})
    with pytest.raises(ModuleFailed, match=words) as told:
        find_app(target, environ={}, folder=folder)
    assert "\n" not in str(told.value)
    assert told.value.__cause__ is not None


def test_a_declaration_error_keeps_its_place(folder: Path) -> None:
    write(folder, {"wrong.py": 'import flows\napp = flows.App("a")\napp.topic("t")\napp.topic("t")\n'})
    with pytest.raises(DeclarationError, match=r"'t' is declared twice.*wrong.py:4"):
        find_app("wrong", environ={}, folder=folder)
