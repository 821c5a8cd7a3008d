"""Errors: one line that names the thing and the fix, the right exit code, tracebacks only when asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_no_app(folder: Path, run: Run) -> None:
    shown = run("topology")
    assert shown.exit_code == 2
    assert shown.stderr.startswith("Error: no flow module here: looked for FLOWS_APP")
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [["--debug", "topology"], ["topology", "--debug"]])
def test_a_traceback_only_with_debug(folder: Path, run: Run, args: list[str]) -> None:
    (folder / "broken.py").write_text("import flows\nflows.App\nx = 1 / 0\n")
    quiet = run("topology", "-A", "broken")
    assert quiet.exit_code == 1
    assert quiet.stderr.startswith("Error: broken cannot be imported: ZeroDivisionError: division by zero (")
    assert quiet.stderr.count("\n") == 1
    loud = run(*args, "-A", "broken")
    assert loud.exit_code == 1
    assert "Traceback (most recent call last)" in loud.stderr
    assert loud.stderr.splitlines()[-1] == quiet.stderr.strip()


def test_a_declaration_error_is_one_line_with_its_place(folder: Path, run: Run) -> None:
    (folder / "wrong.py").write_text(
        "import flows\n\napp = flows.App('a')\n\n\nclass D(flows.Record):\n    carrier: str\n\n\n"
        "app.topic('d', value=D).group_by('carier')\n"
    )
    shown = run("topology")
    assert shown.exit_code == 1
    assert "carier" in shown.stderr
    assert "Did you mean 'carrier'?" in shown.stderr
    assert "wrong.py:10)" in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_an_unexpected_error_is_one_line_too(airport: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsl.plan.explain.explain_text", lambda plan: 1 / 0)
    shown = run("topology")
    assert shown.exit_code == 1
    assert shown.stderr.startswith("Error: ZeroDivisionError: division by zero (")
    assert shown.stderr.endswith("--debug shows the traceback\n")


def test_an_interrupt(airport: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plan: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("dsl.plan.explain.explain_text", interrupted)
    shown = run("topology")
    assert shown.exit_code == 130
    assert shown.stderr == "Error: interrupted\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["worker", "--web-port", "http"],
            "the option --web-port: web_port = 'http' is wrong; expected a whole number",
        ),
        (["worker", "--set", "leese=3"], "the command line: 'leese' is no setting; did you mean 'lease'?"),
        (["worker", "--set", "lease"], "--set 'lease' has no value; write --set NAME=VALUE"),
        (["worker", "-l", "loud"], "log_level = 'loud' is wrong; expected one of debug, info, warning, error"),
        (["tables", "--broker", "kafak://x"], "unknown scheme 'kafak://'"),
    ],
)
def test_wrong_settings(airport: Path, run: Run, args: list[str], words: str) -> None:
    shown = run(*args)
    assert shown.exit_code == 2
    assert words in shown.stderr
    assert shown.stderr.count("\n") == 1
