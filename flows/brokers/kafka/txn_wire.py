"""The positions of a transaction in the version that says which member writes them, and in which generation.

Source: https://kafka.apache.org/protocol#The_Messages_TxnOffsetCommit and KIP-447. aiokafka has version 0, by which the
group cannot tell a member that lost its place from one that has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

_NO_TAGS: dict[int, bytes] = {}
_ANY_EPOCH = -1


class Standing(NamedTuple):
    """As whom a group's positions are written: a member in a generation, or, as it is by default, nobody of it."""

    generation: int = -1
    member_id: str = ""
    instance: str | None = None


class TxnOffsetCommitResponse_v3(Response):
    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "errors",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequest_v3(RequestStruct):
    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse_v3
    SCHEMA = Schema(
        ("transactional_id", CompactString("utf-8")),
        ("group_id", CompactString("utf-8")),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", CompactString("utf-8")),
        ("group_instance_id", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommit(Request[TxnOffsetCommitRequest_v3]):
    """Write positions in a transaction; `topics` has partition, offset and metadata by topic."""

    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        group: str,
        identity: tuple[int, int],
        standing: Standing,
        topics: Iterable[tuple[str, Iterable[tuple[int, int, str]]]],
    ) -> None:
        entries = [
            (topic, [(partition, offset, _ANY_EPOCH, text, _NO_TAGS) for partition, offset, text in parts], _NO_TAGS)
            for topic, parts in topics
        ]
        self._fields: tuple[Any, ...] = (transactional_id, group, *identity, *standing, entries, _NO_TAGS)

    def build(self, request_struct_class: type[TxnOffsetCommitRequest_v3]) -> TxnOffsetCommitRequest_v3:
        return request_struct_class(*self._fields)
