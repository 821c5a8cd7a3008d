"""What members say when they join a group, and what its leader tells each: packed into the protocol's free bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from flows.brokers.base import TaskInputs

FORMAT = "flows-1"
"""The name that the members' common language has at the coordinator; other bytes are another name."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a member says of itself.

    `owned` are the tasks that it runs or has not released yet; `lags` are those of the state that it keeps. `since` is
    the generation in which it came (0: it comes now), `seen` the last one that it saw, which ran `ran`. `turn` counts
    its wishes for a new round: a coordinator starts none for a member that says the same again.
    """

    member: str
    plan: str
    tasks: dict[str, list[tuple[str, int]]]
    owned: list[str] = []
    lags: dict[str, int] = {}
    standbys: int = 0
    since: int = 0
    seen: int = 0
    ran: str = ""
    turn: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a member is told: `tasks` are its own, `leaving` are those that it should release for others.

    `standbys` are the tasks that it should keep a warm copy of; the group waits for those that are in `warming`.
    `plan` is the one that runs; a member of another is `waiting`.
    """

    plan: str
    waiting: bool = False
    tasks: list[str] = []
    leaving: list[str] = []
    standbys: list[str] = []
    warming: list[str] = []


_said, _told = msgspec.msgpack.Decoder(Said), msgspec.msgpack.Decoder(Told)


def pack_said(said: Said) -> bytes:
    """Return a member's metadata; subscribed to all inputs, so that Kafka keeps the group's offsets in them."""
    topics = sorted({topic for inputs in said.tasks.values() for topic, _ in inputs})
    return bytes(ConsumerProtocolMemberMetadata(0, topics, _pack(said)).encode())


def unpack_said(metadata: bytes) -> Said:
    return _said.decode(zlib.decompress(ConsumerProtocolMemberMetadata.decode(metadata).user_data))


def pack_told(told: Told, tasks: Mapping[str, Iterable[tuple[str, int]]]) -> bytes:
    """Return a member's assignment: the partitions that its tasks read, for Kafka's tools, and what it is told."""
    partitions: dict[str, list[int]] = {}
    for task in told.tasks:
        for topic, partition in tasks.get(task, ()):
            partitions.setdefault(topic, []).append(partition)
    inputs = [(topic, sorted(set(found))) for topic, found in sorted(partitions.items())]
    return bytes(ConsumerProtocolMemberAssignment(0, inputs, _pack(told)).encode())


def unpack_told(assignment: bytes) -> Told | None:
    """Return what a member is told; None for the empty assignment of one that the leader did not know."""
    if not assignment:
        return None
    return _told.decode(zlib.decompress(ConsumerProtocolMemberAssignment.decode(assignment).user_data))


def plain(tasks: TaskInputs) -> dict[str, list[tuple[str, int]]]:
    """Return tasks with their inputs as plain values."""
    return {task: [(tp.topic, tp.partition) for tp in inputs] for task, inputs in tasks.items()}


def _pack(struct: msgspec.Struct) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(struct), 1)
