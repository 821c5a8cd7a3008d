"""Which partition a key belongs to: by the Java client's murmur2 partitioner, or by a function of the person."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from flows.route.base import chosen_partition

_MASK = 0xFFFFFFFF
_CACHE_LIMIT = 1 << 16


def murmur2(data: bytes) -> int:
    """Hash as `org.apache.kafka.common.utils.Utils.murmur2` does (Austin Appleby's MurmurHash2, seed 0x9747b28c).

    >>> hex(murmur2(b"21"))
    '0xc5f2f8ec'
    """
    m = 0x5BD1E995
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & _MASK
        h = (h * m & _MASK) ^ ((k ^ (k >> 24)) * m & _MASK)
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & _MASK
    h = (h ^ (h >> 13)) * m & _MASK
    return h ^ (h >> 15)


class Partitioner:
    """Choose partitions of one topic; remembers the keys it has seen, since few keys carry most records."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._known: dict[bytes, int] = {}
        self._keyless = count()

    def of(self, key: bytes | None) -> int:
        """Return the partition of a key; records without one go round in turn."""
        if key is None:
            return next(self._keyless) % self.partitions
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _CACHE_LIMIT:
                self._known.clear()
            found = self._known[key] = (murmur2(key) & 0x7FFFFFFF) % self.partitions
        return found

    def of_all(self, keys: list[bytes]) -> list[int]:
        """Return the partitions of many keys."""
        known = self._known
        for key in set(keys).difference(known):
            self.of(key)
        if all(map(known.__contains__, keys)):
            return [known[k] for k in keys]
        return [self.of(k) for k in keys]


class CustomPartitioner:
    """Choose partitions of one topic by a function of the key's bytes and the number of partitions.

    Nothing is remembered: the function answers for its own speed, and is asked about records without a key too.
    """

    def __init__(self, topic: str, partitions: int, name: str, function: Callable[[bytes | None, int], int]) -> None:
        self.partitions = partitions
        self._what = f"topic {topic!r}: partitioner {name}"
        self._function = function

    def of(self, key: bytes | None) -> int:
        """Return the partition of a key. Raises `Unroutable` where the function fails or names none."""
        return chosen_partition(self._what, self.partitions, self._function, key)
