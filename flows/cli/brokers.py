"""Brokers as commands open them: looking must not create what is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.brokers.base import Broker
from flows.brokers.registry import open_broker
from flows.errors import FlowsError
from flows.settings import Settings


@asynccontextmanager
async def opened_broker(settings: Settings, *, create: bool = False) -> AsyncIterator[Broker]:
    """Start the broker of the settings, and close it at the end.

    Raises `FlowsError` when it is an embedded one whose folder nobody has made yet, unless `create`.
    """
    url = settings.broker_url
    if not create and not has_data(settings):
        raise FlowsError(f"there are no data at {url}", fix="run `flows worker`, or name the folder by --data")
    broker = open_broker(url, **settings.read_broker_options())
    await broker.start()
    try:
        yield broker
    finally:
        await broker.close()


def has_data(settings: Settings) -> bool:
    """Tell whether an embedded broker's folder is there; of other brokers only they can tell."""
    parts = urlsplit(settings.broker_url)
    return parts.scheme != "embedded" or not parts.path or Path(unquote(parts.path)).is_dir()
