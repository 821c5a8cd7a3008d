"""What decoding and encoding offer to the rooms around them."""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


class ValueCodec(Protocol):
    """Values to bytes and back. Both raise: what does not fit is refused by the caller."""

    def encode(self, value: Any) -> bytes: ...

    def decode(self, data: bytes) -> Any: ...


class RegisteredSchema(msgspec.Struct, frozen=True):
    """A schema as a registry keeps it: `references` are the schemas it names, by name, each after those it needs."""

    definition: str
    kind: str = "AVRO"
    references: tuple[tuple[str, str], ...] = ()


class Registry(Protocol):
    """A schema registry. All raise `RegistryUnavailable` where it cannot be reached, `FlowsError` where it refuses."""

    async def schema(self, id: int) -> RegisteredSchema | None:
        """Return a schema by its id; None where there is none."""

    async def register(self, subject: str, schema: RegisteredSchema) -> int:
        """Register a schema under a subject, unless it is, and return its id."""

    async def look_up(self, subject: str, schema: RegisteredSchema) -> int | None:
        """Return the id of a schema under a subject; None where it is not registered."""

    async def close(self) -> None: ...


def nests_deeper(text: bytes, most: int) -> bool:
    """Tell whether JSON nests deeper, before anything walks down into it; brackets in strings do not count.

    >>> nests_deeper(b'[["[[["]]', 2), nests_deeper(b"[[[1]]]", 2)
    (False, True)
    """
    if text.count(b"{") + text.count(b"[") <= most:
        return False
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        first = text[found.start()]
        if first in b"[{":
            depth += 1
            if depth > most:
                return True
        elif first in b"]}":
            depth -= 1
    return False
