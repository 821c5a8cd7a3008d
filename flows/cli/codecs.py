"""The codecs of a command's app, opened and closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flows.cli.subject import Subject
from flows.decode.codecs import Codecs
from flows.decode.opened import open_codecs


@asynccontextmanager
async def opened_codecs(subject: Subject) -> AsyncIterator[Codecs]:
    """Open the codecs of a subject's plan, and close them at the end."""
    codecs = open_codecs(subject.plan, **subject.settings.read_schema_registry_options())
    try:
        yield codecs
    finally:
        await codecs.close()
