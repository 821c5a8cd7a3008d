"""Free space on the broker's disk, looked at as often as what is written asks for."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from flows.brokers.embedded.faults import free_bytes
from flows.errors import BrokerUnavailable

_EVERY = 1.0


class FreeSpace:
    """Refuse appends where less than `least` bytes are free.

    On a disk that is full to the last byte not even a purge could be written, so some is kept free. The disk is looked
    at once a second, after each eighth of `least` that was appended, and at every append while there is too little.
    """

    def __init__(self, folder: Path, least: int) -> None:
        self._folder, self._least = folder, least
        self._looked = float("-inf")
        self._appended = 0
        self._enough = False

    def check(self, size: int) -> None:
        """Count `size` more bytes; raises `BrokerUnavailable` when there is too little space for them."""
        self._appended += size
        now = monotonic()
        if not self._enough or self._appended > self._least // 8 or now - self._looked > _EVERY:
            self._enough = free_bytes(self._folder) >= self._least
            self._appended, self._looked = 0, now
        if not self._enough:
            raise BrokerUnavailable(
                f"cannot append records in {self._folder}: less than {self._least:,} bytes are free on its disk",
                fix="free some space, shorten the retention of its topics, or lower the broker's min_free_bytes",
            )
