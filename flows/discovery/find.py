"""Find the app that a command is about, as Flask does: told by name, by configuration, or the only one around.

    1. `-A module[:app]`, or a path to a file or folder
    2. `FLOWS_APP` in the environment
    3. `app` in `[tool.flows]` of the nearest pyproject.toml
    4. the only flow module (a file that makes a `flows.App`) of the working directory

Finding reads files without running them; only the chosen module is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dsl import App
from flows.discovery.load import app_in, import_file, import_name
from flows.discovery.spot import flow_modules
from flows.errors import UsageError
from flows.settings import project_file

_USUAL = ("__init__.py", "flow.py", "app.py")


class NoAppFound(UsageError):
    """There is no app where it was looked for; nothing was named wrongly."""


_at_hand: App | None = None


@contextmanager
def app_at_hand(app: App) -> Iterator[None]:
    """Have commands find this app where none is named: it is in the program that is running.

    Processes that the program starts find it by the program's file.
    """
    global _at_hand
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is not None:
        os.environ.setdefault("FLOWS_APP", str(Path(file).resolve()))
    before, _at_hand = _at_hand, app
    try:
        yield
    finally:
        _at_hand = before


def find_app(target: str | None = None, *, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> App:
    """Return the app that `target` names, or the one that is found.

    Raises `NoAppFound` when nothing is named and nothing found, `UsageError` when a name leads nowhere or several apps
    are there, `ModuleFailed` when the module cannot be imported, `DeclarationError` for a mistake in it.
    """
    folder = folder or Path.cwd()
    environ = os.environ if environ is None else environ
    # 1
    if target:
        return _named(target, folder)
    if _at_hand is not None:
        return _at_hand
    # 2
    if named := environ.get("FLOWS_APP"):
        return _named(named, folder)
    # 3
    if (project := project_file(folder)) and isinstance(named := project.table.get("app"), str):
        return _named(named, project.path.parent)
    # 4
    return app_in(import_file(_only_module(folder)), None)


def _named(target: str, folder: Path) -> App:
    """Load `module`, `module:app`, `path/to/file.py`, `path/to/folder`, or a path with `:app`."""
    place, _, attribute = target.partition(":")
    path = (folder / place).expanduser()
    if place.endswith(".py") or "/" in place or os.sep in place or path.is_dir():
        return app_in(import_file(_module_at(path, place)), attribute or None)
    return app_in(import_name(place, folder), attribute or None)


def _module_at(path: Path, written: str) -> Path:
    if path.is_dir():
        return _module_of(path, written)
    if not path.is_file():
        raise UsageError(f"there is no file or folder {written!r}", fix="name a flow module: -A path/to/flow.py")
    if path.suffix != ".py":
        raise UsageError(f"{written} is no Python file", fix="name a flow module: -A path/to/flow.py")
    return path


def _module_of(folder: Path, written: str) -> Path:
    """Choose a folder's flow module: the only one, else the one with a usual name."""
    found = flow_modules(folder)
    if len(found) == 1:
        return found[0]
    usual = [p for name in _USUAL if (p := folder / name) in found or (not found and p.is_file())]
    if usual:
        return usual[0]
    if found:
        raise UsageError(
            f"folder {written!r} has several flow modules: {', '.join(p.name for p in found)}",
            fix=f"choose one: -A {Path(written) / found[0].name}",
        )
    raise UsageError(
        f"folder {written!r} has no flow module (no {', '.join(_USUAL)}, no file that makes a flows.App)",
        fix="name the file: -A path/to/flow.py",
    )


def _only_module(folder: Path) -> Path:
    found = flow_modules(folder)
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoAppFound(
            f"no flow module here: looked for FLOWS_APP, for app in [tool.flows] of pyproject.toml, "
            f"and for files in {folder} that make a flows.App",
            fix="name one: -A module[:app], or -A path/to/flow.py",
        )
    names = ", ".join(p.name for p in found)
    raise UsageError(f"several flow modules in {folder}: {names}", fix=f"choose one: -A {found[0].stem}")
