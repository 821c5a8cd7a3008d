"""Read a stream of server-sent events as a test needs it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import ClientResponse

DEADLINE = 10.0


class Events:
    """The events of one response, in order; `id` is the last one that came."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.id = ""

    async def next(self) -> tuple[str, Any]:
        """Wait for the next event; a heartbeat comes as `("", None)`, the end as `("end", None)`."""
        async with asyncio.timeout(DEADLINE):
            lines: list[str] = []
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    self.id = next((text[4:] for text in lines if text.startswith("id: ")), self.id)
                    return _parse(lines)
                lines.append(line.rstrip("\n"))
        return "end", None

    async def named(self, event: str) -> Any:
        """Wait for the next event of this name, skipping others."""
        while True:
            name, data = await self.next()
            if name == event:
                return data
            assert name != "end", f"the stream ended before {event!r}"


def _parse(lines: list[str]) -> tuple[str, Any]:
    fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
    return fields.get("event", ""), msgspec.json.decode(fields["data"]) if "data" in fields else None
