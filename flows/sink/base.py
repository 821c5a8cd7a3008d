"""What writing to topics needs of other rooms."""

from __future__ import annotations

from typing import Any, Protocol


class EncodeKey(Protocol):
    """Message-key bytes of a value."""

    def __call__(self, value: Any, /) -> bytes | None: ...


class PartitionOf(Protocol):
    """The partition of a message key."""

    def __call__(self, key: bytes | None, /) -> int: ...
