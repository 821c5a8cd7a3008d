"""`flows gateway`: take events from outside, without a worker."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING, Any

import click

from flows.cli.commands import Command
from flows.cli.options import place_options
from flows.cli.signals import Stopper
from flows.cli.worker import ask_on_signal, called_with, setting_of
from flows.errors import UsageError

if TYPE_CHECKING:
    from dsl.plan.graph import Plan
    from flows.settings import Settings


@click.command(cls=Command)
@place_options
@click.option("--host", "gateway_host", metavar="HOST", help="Where it listens. Default: 127.0.0.1.")
@click.option("--port", "gateway_port", metavar="PORT", help="Its port; 0 takes any. Default: 6067.")
@click.option("--token-file", "web_token_file", metavar="PATH", help="A file with its token; or FLOWS_WEB_TOKEN.")
@click.option("--topics", "gateway_topics", metavar="A,B", help="Default: those that the app does not write to itself.")
@click.option("-l", "--loglevel", "log_level", metavar="LEVEL", help="debug, info, warning or error. Default: info.")
@click.option("--log-json", is_flag=True, default=None, help="Log one JSON object a line.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Share the port among N processes; one that dies is started again. Default: 1.",
)
@click.option("--supervised", type=(int, int), default=None, hidden=True)
@click.option("--set", "more", metavar="NAME=VALUE", multiple=True, help="Any other setting; may be repeated.")
@click.pass_context
def gateway(
    ctx: click.Context,
    /,
    target: str | None,
    more: tuple[str, ...],
    processes: int,
    supervised: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Take events from outside: POST /topics/NAME, or a WebSocket there.

    It answers when the broker has them. Workers do so too, on their web port; this needs none.
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
            asyncio.run(_run(app.plan(), settings, stopper, shared=supervised is not None))
        elif settings.gateway_port == 0:
            raise UsageError("several processes cannot share any free port", fix="choose one with --port")
        elif code := asyncio.run(_supervise(called_with(ctx), processes, stopper)):
            ctx.exit(code)


async def _run(plan: Plan, settings: Settings, stopper: Stopper, *, shared: bool) -> None:
    from flows.run.gateway import GatewayProcess

    running = GatewayProcess(plan, settings, shared=shared)
    gc.collect()
    gc.freeze()  # as a worker does: what is imported is not walked over again
    ask_on_signal(stopper, running.stop)
    try:
        await running.run()
    finally:
        gc.unfreeze()


async def _supervise(arguments: list[str], count: int, stopper: Stopper) -> int:
    from flows.run.supervisor import Supervisor

    def command(number: int, alive: int) -> list[str]:
        return [sys.executable, "-m", "flows", *arguments, "--processes", "1", "--supervised", str(number), str(alive)]

    supervisor = Supervisor(command, count)
    ask_on_signal(stopper, supervisor.stop)
    return await supervisor.run()
