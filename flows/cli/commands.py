"""The group of commands, and how whatever goes wrong in one becomes a line and an exit code.

Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted. Commands are imported when they are asked for, so that
`flows --help` answers at once.
"""

from __future__ import annotations

import errno
import traceback
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from dsl.errors import nearest
from flows.cli.options import app_option
from flows.errors import DeclarationError, FlowsError, UsageError

COMMANDS = ("worker", "gateway", "topology", "topics", "tables", "query", "send", "tail", "top", "reset")
_DEBUG = "flows.debug"


class Failure(click.ClickException):
    """An error that is shown as one line."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        vars(self)["exit_code"] = exit_code  # one class for all codes; click 8.5 declares it per class


class Command(click.Command):
    """A command that takes `--debug` too, so that it may stand behind its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(debug_option())


class Commands(click.Group):
    """The commands, found by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return self._own(ctx, cmd_name)
        command = getattr(import_module(f"flows.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def _own(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command that the app declares."""
        from flows.cli.own import find_own_app, own_command

        app = find_own_app(ctx.params.get("target"))
        return None if app is None else own_command(app, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-") and self._own(ctx, name) is None:
            close = nearest(name, COMMANDS)
            hint = f" Did you mean {close!r}?" if close else f" The commands are {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except KeyboardInterrupt:
            raise Failure("interrupted", 130) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if is_debugging(ctx):
                traceback.print_exception(error)
            raise Failure(*_told(error)) from error


def debug_option() -> click.Option:
    """Make the option that shows tracebacks."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_DEBUG] = True

    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=remember, help="Show tracebacks of errors."
    )


def is_debugging(ctx: click.Context) -> bool:
    """Tell whether tracebacks were asked for."""
    return bool(ctx.meta.get(_DEBUG))


def _told(error: Exception) -> tuple[str, int]:
    """Return the line that tells of an error, and the exit code."""
    if isinstance(error, UsageError):
        return str(error), 2
    if isinstance(error, FlowsError | DeclarationError):
        return str(error), 1
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(traceback.format_exception_only(error)[-1].split())
    return f"{what} ({last.filename}:{last.lineno}); --debug shows the traceback", 1


def _version() -> str:
    try:
        return version("flows")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="flows")
@app_option
@click.pass_context
def main(ctx: click.Context, target: str | None) -> None:
    """Stream processing for Python: run flow modules, and look into what they keep.

    Commands find the app by themselves: -A, FLOWS_APP, [tool.flows] app in pyproject.toml, or the only flow module
    of the working directory. An app may have more commands, by @app.command().
    """
    if target is not None:
        ctx.default_map = {name: {"target": target} for name in COMMANDS}


main.params.append(debug_option())
