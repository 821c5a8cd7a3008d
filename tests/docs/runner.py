"""Run the blocks of a group, as `blocks` describes."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flows.settings import load_settings
from tests.docs.blocks import ROOT, Block, Group

PATIENCE = 120.0
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def run_group(group: Group, folder: Path, drive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run blocks one after the other in one module and one working folder; an example's files are in it."""
    module = ModuleType(re.sub(r"\W", "_", group.name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if "examples" in group.blocks[0].page.parts:
        shutil.copytree(group.blocks[0].page.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    with contextlib.chdir(folder):
        for block in group.blocks:
            if block.file is not None:
                with (folder / block.file).open("a" if "continued" in block.marks else "w", encoding="utf-8") as file:
                    file.write(block.text)
            if block.language == "console":
                run_console(block, folder)
            elif block.language == "toml":
                check_settings(block, folder)
            elif ">>>" in block.text:
                run_doctest(block, module)
            else:
                run_python(block, module, drive)


def run_python(block: Block, module: ModuleType, drive: Callable[..., Any]) -> None:
    """Execute a block; test functions that it defines are called too, with the fixture `drive` if they want it."""
    before = dict(vars(module))
    # The empty lines before make a traceback name the line of the page.
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    exec(code, vars(module))
    for name, value in list(vars(module).items()):
        if name.startswith("test_") and inspect.isfunction(value) and before.get(name) is not value:
            value(**{"drive": drive} if "drive" in inspect.signature(value).parameters else {})


def run_doctest(block: Block, module: ModuleType) -> None:
    """Run a transcript and compare what it shows."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=_FLAGS, verbose=False)
    test = parser.get_doctest(block.text, vars(module), block.page.name, str(block.page), block.line - 1)
    said: list[str] = []
    runner.run(test, out=said.append, clear_globs=False)
    vars(module).update(test.globs)
    assert runner.failures == 0, "".join(said)


def check_settings(block: Block, folder: Path) -> None:
    """Load the settings that a block holds."""
    assert "flows" in tomllib.loads(block.text).get("tool", {}), f"no [tool.flows] at line {block.line}"
    (folder / "pyproject.toml").write_text(block.text, "utf-8")
    load_settings("app", environ={}, folder=folder)


def run_console(block: Block, folder: Path) -> None:
    """Run commands in a shell; each must end well, or with the error that is shown."""
    for command, expected in commands_of(block):
        run_command(command, expected, folder, f"{block.page.name}:{block.line}: $ {command}")


def run_command(command: str, expected: list[str], folder: Path, where: str) -> None:
    """Run one command; without expected lines all that counts is that it ends well."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    fails = any(line.startswith("Error:") for line in expected)
    assert (done.returncode != 0) == fails, f"{where}\nexit code {done.returncode}, printed:\n{done.stdout}"
    if expected:
        told = f"{where}\nprinted:\n{done.stdout}\nexpected:\n" + "\n".join(expected)
        assert matches(expected, done.stdout.splitlines()), told


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the lines that follow it; `> ` continues a command."""
    command, expected = "", []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], []
        elif line.startswith("> ") and not expected:
            command += "\n" + line[2:]
        else:
            assert command, f"{block.page.name}:{block.line}: output without a command"
            expected.append(line)
    yield command, expected


def matches(expected: list[str], got: list[str]) -> bool:
    """Compare lines without the blanks at their ends; `...` alone stands for any number of lines, inside for any text.

    >>> matches(["a", "...", "d ...s"], ["a", "b", "c", "d 3 s"]), matches(["a"], ["a", "b"])
    (True, False)
    """
    if not expected:
        return not got
    if expected[0].strip() == "...":
        return any(matches(expected[1:], got[i:]) for i in range(len(got) + 1))
    pattern = ".*".join(map(re.escape, expected[0].rstrip().split("...")))
    return bool(got) and re.fullmatch(pattern, got[0].rstrip()) is not None and matches(expected[1:], got[1:])


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a reader who has just installed the package: no settings, any free port."""
    # `make test ARGS=…` hands its own arguments on to every make below it.
    own = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWS_", "MAKE", "MFLAGS")) and k != "ARGS"}
    path = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", os.defpath)])
    return {**own, "PATH": path, "HOME": str(folder), "PYTHONPATH": str(ROOT), "FLOWS_WEB_PORT": "0", "NO_COLOR": "1"}
