"""Tell flow modules from other files by reading them: a flow module makes an `App` of `flows`."""

from __future__ import annotations

import ast
from pathlib import Path

_ROOMS = frozenset({"flows", "dsl", "flows.faust"})


def flow_modules(folder: Path) -> list[Path]:
    """Return the Python files of a folder (not of those in it) that make a `flows.App`, by name."""
    return [p for p in sorted(folder.glob("*.py")) if p.is_file() and makes_app(_text(p))]


def makes_app(source: str) -> bool:
    """Tell whether a module's source calls the `App` of flows.

    >>> makes_app("import flows as f; airport = f.App('airport')")
    True
    >>> makes_app("from fastapi import App; App()")
    False
    """
    if "App" not in source:
        return False
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    modules, classes = _imported(tree)
    return any(_is_app(n.func, modules, classes) for n in ast.walk(tree) if isinstance(n, ast.Call))


def _is_app(function: ast.expr, modules: set[str], classes: set[str]) -> bool:
    if isinstance(function, ast.Name):
        return function.id in classes
    return isinstance(function, ast.Attribute) and function.attr == "App" and ast.unparse(function.value) in modules


def _imported(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Return the names by which a module knows our modules, and by which it knows their App."""
    modules: set[str] = set()
    classes: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(a.asname or a.name for a in node.names if a.name in _ROOMS)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                if node.module in _ROOMS and alias.name in ("App", "*"):
                    classes.add("App" if alias.name == "*" else alias.asname or "App")
                elif f"{node.module}.{alias.name}" in _ROOMS:
                    modules.add(alias.asname or alias.name)
    return modules, classes


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):  # no module that could be imported either; naming it tells why
        return ""
