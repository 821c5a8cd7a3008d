"""Commands that an app declares with `@app.command()`."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from flows.cli.commands import Command
from flows.cli.options import broker_option, data_option
from flows.errors import DeclarationError, FlowsError

if TYPE_CHECKING:
    from dsl import App
    from flows.settings import Settings


def find_own_app(target: str | None) -> App | None:
    """Find the app that may have more commands; where none is named, None for whatever keeps it from being found."""
    from flows.discovery import find_app

    if target is not None:
        return find_app(target)
    try:
        return find_app(None)
    except (FlowsError, DeclarationError):
        return None


def own_command(app: App, name: str) -> click.Command | None:
    """Return an app's command of this name."""
    function = app._commands.get(name)
    if function is None:
        return None

    @functools.wraps(function)
    def run(*args: Any, flows_broker: str | None, flows_data: str | None, **options: Any) -> None:
        if not inspect.iscoroutinefunction(function):
            function(*args, **options)
            return
        from flows.settings import load_settings

        settings = load_settings(app.id, {"broker": flows_broker, "data": flows_data})
        asyncio.run(_run(app, settings, lambda: function(*args, **options)))

    named = (("broker", broker_option), ("data", data_option))
    command = click.command(name, cls=Command, help=inspect.getdoc(function))(run)
    for option, decorate in named:
        holder: Any = decorate(lambda: None)
        (parameter,) = holder.__click_params__
        parameter.name = f"flows_{option}"
        command.params.append(parameter)
    return command


async def _run(app: App, settings: Settings, call: Callable[[], Awaitable[Any]]) -> None:
    from flows.cli.brokers import opened_broker
    from flows.clock import SystemClock
    from flows.compile.names import topic_specs
    from flows.decode.opened import open_codecs
    from flows.run.asking import Asking
    from flows.run.direct import DirectRuntime, as_runtime

    plan, clock = app.plan(), SystemClock()
    codecs = open_codecs(plan, **settings.read_schema_registry_options())
    async with opened_broker(settings, create=True) as broker:
        for spec in topic_specs(plan):
            await broker.create_topic(spec)
        asking = Asking(plan, codecs, broker, clock)
        try:
            await as_runtime(DirectRuntime(plan, codecs, broker, clock, asking), call)
        finally:
            await asking.close()
            await codecs.close()
