"""What the command line says of itself, held in golden files; `FLOWS_GOLDEN=write` writes them anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.cli.commands import COMMANDS
from tests.cli.conftest import Run

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("FLOWS_GOLDEN") == "write"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str) -> None:
    args = [*command.split(), "--help"]
    shown = CliRunner().invoke(main, args, prog_name="flows", terminal_width=100)
    assert shown.exit_code == 0
    path = GOLDEN / f"help-{command or 'flows'}.txt"
    if WRITE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown.output)
    assert shown.output == path.read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["wroker"], "No such command 'wroker'. Did you mean 'worker'?"),
        (["zzzzzz"], "No such command 'zzzzzz'. The commands are worker, gateway, topology, "),
        (["worker", "--webport", "1"], "--web-port"),
        (["query"], "Missing argument 'SQL'."),
        (["query", "x", "--format", "xml"], "'xml' is not one of"),
        (["tail", "t", "--limit", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_exits_with_2(folder: Path, run: Run, args: list[str], words: str) -> None:
    shown = run(*args)
    assert shown.exit_code == 2
    assert words in shown.output
    assert "Usage: flows" in shown.output


def test_the_module_runs_as_the_script_does() -> None:
    script = Path(sys.executable).parent / "flows"
    by_module = subprocess.run([sys.executable, "-m", "flows", "--version"], capture_output=True, text=True, check=True)
    assert by_module.stdout.startswith("flows, version ")
    if script.exists():
        by_script = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert by_script.stdout == by_module.stdout
