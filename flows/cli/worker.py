"""`flows worker`: run an app."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from flows.cli.commands import Command, is_debugging
from flows.cli.options import place_options
from flows.cli.signals import Stopper
from flows.errors import UsageError

if TYPE_CHECKING:
    from dsl import App
    from flows.settings import Settings


@click.command(cls=Command)
@place_options
@click.option("-l", "--loglevel", "log_level", metavar="LEVEL", help="debug, info, warning or error. Default: info.")
@click.option("--log-json", is_flag=True, default=None, help="Log one JSON object a line.")
@click.option("--web-host", metavar="HOST", help="Where the page is served. Default: 127.0.0.1.")
@click.option("--web-port", metavar="PORT", help="The page's port; 0 takes any, -1 serves none. Default: 6066.")
@click.option(
    "--web-token-file", metavar="PATH", help="A file with the token that the page asks for; or FLOWS_WEB_TOKEN."
)
@click.option("--drain", is_flag=True, default=None, help="Stop once the inputs are processed to their end.")
@click.option(
    "--guarantee", metavar="WHAT", help="exactly_once or at_least_once, which waits less. Default: exactly_once."
)
@click.option("--speed", metavar="X", help="Replay sources at X times their pace. Default: as fast as they are taken.")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    metavar="N",
    help="Run N workers, one process each; one that dies is started again. Default: 1.",
)
@click.option("--supervised", type=(int, int), default=None, hidden=True)
@click.option("--set", "more", metavar="NAME=VALUE", multiple=True, help="Any other setting; may be repeated.")
@click.pass_context
def worker(
    ctx: click.Context,
    /,
    target: str | None,
    more: tuple[str, ...],
    processes: int,
    supervised: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Run an app: read its topics, keep its tables, serve its page.

    Ctrl-C finishes what is in flight and commits it; a second one leaves at once, which loses nothing either.
    """
    number, alive = (None, None) if supervised is None else supervised
    with Stopper(alive) as stopper:
        from flows.discovery import find_app
        from flows.logs import set_up_logs
        from flows.settings import load_settings

        app = find_app(target)
        settings = load_settings(app.id, {**options, **dict(map(setting_of, more))})
        set_up_logs(settings.log_level, as_json=settings.log_json, process=number)
        if processes == 1:
            asyncio.run(_run(app, settings, stopper))
        elif code := asyncio.run(_supervise(called_with(ctx), settings, processes, stopper)):
            ctx.exit(code)


async def _run(app: App, settings: Settings, stopper: Stopper) -> None:
    from flows.run.worker import Worker

    running = Worker(app, settings)
    # What is imported and declared lives as long as the process: each full collection would walk over it, 50 ms long.
    gc.collect()
    gc.freeze()
    ask_on_signal(stopper, running.stop)
    try:
        await running.run()
    finally:
        gc.unfreeze()  # else DuckDB complains, as the process ends, of all that was never collected


async def _supervise(arguments: list[str], settings: Settings, count: int, stopper: Stopper) -> int:
    from flows.run.supervisor import Supervisor

    def command(number: int, alive: int) -> list[str]:
        changed = ["--processes", "1", "--supervised", str(number), str(alive)]
        if number and settings.web_port > 0:
            changed += ["--web-port", "0"]  # the first has the port; each of them answers for all
        if settings.instance_id is not None:
            changed += ["--set", f"instance_id={settings.instance_id}-{number}"]
        return [sys.executable, "-m", "flows", *arguments, *changed]

    supervisor = Supervisor(command, count)
    ask_on_signal(stopper, supervisor.stop)
    return await supervisor.run()


def ask_on_signal(stopper: Stopper, stop: Callable[[], None]) -> None:
    """Let the first signal call a function in the event loop."""
    loop = asyncio.get_running_loop()

    def ask() -> None:
        with suppress(RuntimeError):  # the loop has ended by itself in between
            loop.call_soon_threadsafe(stop)

    stopper.on_stop(ask)


def called_with(ctx: click.Context) -> list[str]:
    """Return the arguments that this command was called with, to call it again."""
    arguments = ["--debug"] if is_debugging(ctx) else []
    arguments.append(str(ctx.command.name))
    for option in ctx.command.params:
        value = None if option.name is None else ctx.params.get(option.name)
        if value is None or option.name in ("processes", "supervised"):
            continue
        for one in value if option.multiple else (value,):
            arguments += [option.opts[-1]] if one is True else [option.opts[-1], str(one)]
    return arguments


def setting_of(text: str) -> tuple[str, str]:
    """Read the name and the value of --set; raises `UsageError`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r} has no value", fix="write --set NAME=VALUE, such as --set commit_interval=1s")
    return name.strip(), value.strip()
