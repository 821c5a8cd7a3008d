"""Message keys: how a declared key field becomes the bytes of a record's key, and the check of that claim.

A `str` is its UTF-8 text, `bytes` are themselves, `int` and `bool` their JSON text: what producers in other languages
write by default. A composite key (of a table's changes) is a JSON array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from flows.brokers.base import Records
from flows.errors import FlowsError
from flows.operate.base import DeadLetters

_STREAK = 100
_SAMPLE = 8


def encode_message_key(value: Any) -> bytes | None:
    """Encode a key for the wire.

    >>> encode_message_key("JFK"), encode_message_key(7), encode_message_key(("EWR", "SFO"))
    (b'JFK', b'7', b'["EWR","SFO"]')
    """
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def decode_message_key(data: bytes, type_: Any) -> Any:
    """Read back a key of one of the types that a topic's key can have; raises `ValueError` for other bytes.

    >>> decode_message_key(b"JFK", str), decode_message_key(b"7", int)
    ('JFK', 7)
    """
    if type_ is bytes:
        return data
    return data.decode() if type_ is str else msgspec.json.decode(data, type=type_)


def _encoded(keys: list[Any]) -> list[bytes | None]:
    if all(key.__class__ is str for key in keys):
        return list(map(str.encode, keys))
    return list(map(encode_message_key, keys))


class KeyClaim:
    """Check that each record's key is the encoding of the declared key field.

    A differing record is refused; when the first hundred of a partition differ, the producer cannot be keyed by the
    field at all, and the task stops with the way out. It is counted in record order, so that no batch decides.
    """

    def __init__(self, topic: str, field: str, on_error: str) -> None:
        self._topic, self._field, self._on_error = topic, field, on_error
        self._proved = False
        self._streak = 0

    def wrong_rows(self, records: Records, objects: Sequence[Any], dead: DeadLetters) -> list[int]:
        """Refuse the rows whose key differs and return their places."""
        expected = _encoded(list(map(attrgetter(self._field), objects)))
        if expected == records.keys:
            self._proved = self._proved or bool(expected)
            return []
        wrong = [i for i, (want, got) in enumerate(zip(expected, records.keys, strict=True)) if want != got]
        self._judge(next((n for n, i in enumerate(wrong) if n != i), len(wrong)), len(wrong) < len(expected))
        for i in wrong:
            dead.refuse(self._topic, records, i, self._reason(records.keys[i], expected[i]), on_error=self._on_error)
        return wrong

    def _reason(self, got: bytes | None, want: bytes | None) -> str:
        return f"message key {got!r} is not the declared key field {self._field!r}, {want!r}"

    def _judge(self, first_wrong: int, some_right: bool) -> None:
        """Learn how many records at the start of a batch were wrong, and whether a right one followed."""
        if self._proved:
            return
        self._streak += first_wrong
        if self._streak >= _STREAK:
            raise FlowsError(
                f"topic {self._topic!r}: none of {_STREAK} records is keyed by the declared key={self._field!r}",
                fix="declare no key (group_by then repartitions), or key the producer by this field",
            )
        self._proved = some_right


class PartitionClaim:
    """Check that a topic's records lie where `partitioned_by="murmur2"` says, on a few keys of each batch.

    A join takes the claim for granted: with another partitioner records of one key would lie in different tasks, and
    not meet, silently.
    """

    def __init__(self, topic: str, partition: int, partition_of: Callable[[bytes], int]) -> None:
        self._topic, self._partition, self._partition_of = topic, partition, partition_of

    def check(self, records: Records) -> None:
        """Raise `FlowsError` where a key's partition is another one."""
        keys = records.keys
        for row in {*range(min(_SAMPLE, len(keys))), *range(0, len(keys), max(1, len(keys) // _SAMPLE))}:
            key = keys[row]
            if key is not None and (where := self._partition_of(key)) != self._partition:
                raise FlowsError(
                    f"topic {self._topic!r}: key {key!r} at offset {records.offsets[row]} lies in partition "
                    f"{self._partition}, murmur2 puts it into {where}: its producer has another partitioner",
                    fix='declare the topic without partitioned_by="murmur2" (a join then repartitions), '
                    "or let the producer use murmur2 (librdkafka: partitioner=murmur2_random)",
                )
