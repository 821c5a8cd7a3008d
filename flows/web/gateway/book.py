"""What of a lane's keys and sequences is written already: kept in memory, read back from the topic of keys.

A record of that topic says that something was written, in the same transaction: of a key (`k` and its digest) the mark
of the request, of a client (`c` and its digest) its last sequence. Digests are of 16 bytes, by BLAKE2b: of 2**40 keys
two have the same one with a probability below 2**-48.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from flows.brokers.base import Outgoing, Records

_KEY, _CLIENT = b"k", b"c"
_MARK = 16


class Once(NamedTuple):
    """A request that must be there once: its key's digest, and the mark of all that it says."""

    id: bytes
    mark: bytes


class Sequence(NamedTuple):
    """A message that must be there once: its client's digest, and its number, larger than those before it."""

    id: bytes
    number: int


Claim = Once | Sequence


class Look(NamedTuple):
    """The question for a client's last sequence."""

    id: bytes


def digest(*parts: bytes) -> bytes:
    """Return 16 bytes that stand for these parts, in this order."""
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.digest()


class Mismatch(Exception):
    """A key came again with another request."""


class _Written(NamedTuple):
    time: int  # milliseconds since the epoch
    end: int  # the offset behind the records
    ids: tuple[bytes, ...]


class Book:
    """Of one lane. A claim is new, or was written (`is_written`); `noted` and `read` add what was.

    >>> book = Book(retention=60.0)
    >>> once = Once(digest(b"topic", b"key"), digest(b"body"))
    >>> book.is_written(once)
    False
    >>> book.noted([once], 1_000, 1)
    >>> book.is_written(once), book.expire(now=61_500), book.is_written(once)
    (True, 1, False)
    """

    def __init__(self, retention: float) -> None:
        self._retention = round(retention * 1000)
        self._keys: dict[bytes, bytes] = {}  # a mark and an end: one object a key, of which there are many
        self._clients: dict[bytes, tuple[int, int]] = {}
        self._log: deque[_Written] = deque()

    def __len__(self) -> int:
        return len(self._keys) + len(self._clients)

    def is_written(self, claim: Claim) -> bool:
        """Tell whether what claims this was written. Raises `Mismatch`."""
        if isinstance(claim, Sequence):
            return claim.number <= self.last(claim.id)
        known = self._keys.get(claim.id)
        if known is not None and known[:_MARK] != claim.mark:
            raise Mismatch
        return known is not None

    def last(self, client: bytes) -> int:
        """Return a client's last sequence, -1 where none is known."""
        found = self._clients.get(client)
        return -1 if found is None else found[0]

    def knows(self, claim: Claim) -> bool:
        """Tell whether the claim needs no room in the book that is not there yet."""
        return claim.id in (self._keys if isinstance(claim, Once) else self._clients)

    def noted(self, claims: Iterable[Claim], time: int, end: int) -> None:
        """Add what was written at a time, in milliseconds, with records of the topic up to an offset."""
        ids = []
        for claim in claims:
            ids.append(claim.id)
            if isinstance(claim, Once):
                self._keys[claim.id] = claim.mark + end.to_bytes(8, "big")
            elif claim.number > self.last(claim.id):
                self._clients[claim.id] = (claim.number, end)
        self._log.append(_Written(time, end, tuple(ids)))

    def read(self, records: Records) -> None:
        """Add what is in the topic."""
        ends = [*records.offsets[1:], records.next_offset]
        for key, value, time, end in zip(records.keys, records.values, records.timestamps, ends, strict=True):
            assert key is not None
            assert value is not None
            id_ = key[1:]
            claim = Once(id_, value) if key[:1] == _KEY else Sequence(id_, int.from_bytes(value, "big"))
            self.noted([claim], time, end)

    def expire(self, now: int) -> int | None:
        """Forget what is older than the retention; return the offset before which the topic may forget it too."""
        end = None
        while self._log and self._log[0].time <= now - self._retention:
            gone = self._log.popleft()
            end = gone.end
            for id_ in gone.ids:
                self._forget(id_, gone.end)
        return end

    def _forget(self, id_: bytes, end: int) -> None:
        """Forget what was not written again since."""
        client, key = self._clients.get(id_), self._keys.get(id_)
        if client is not None and client[1] <= end:
            del self._clients[id_]
        if key is not None and int.from_bytes(key[_MARK:], "big") <= end:
            del self._keys[id_]

    def oldest(self) -> int | None:
        """Return when the first of all that is kept was written, in milliseconds since the epoch."""
        return self._log[0].time if self._log else None


def record_of(claims: Iterable[Claim], time: int) -> Outgoing:
    """Return the records that say that these were written."""
    out = Outgoing()
    for claim in claims:
        if isinstance(claim, Once):
            out.append(_KEY + claim.id, claim.mark, time)
        else:
            out.append(_CLIENT + claim.id, claim.number.to_bytes(8, "big"), time)
    return out
