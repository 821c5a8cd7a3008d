"""What a topic is against what a plan wants it to be: the same question, and the same answer, at every broker."""

from __future__ import annotations

from flows.brokers.base import TopicSpec
from flows.errors import BrokerError, TopicMismatch, UnknownTopic

_ONLY_FOR = {"retention": "delete", "tombstone_retention": "compact"}


def differences(existing: TopicSpec, wanted: TopicSpec) -> tuple[str, ...]:
    """Name the settings in which a topic is not as wanted."""
    asked = ("partitions",) if wanted.any_retention else ("partitions", "cleanup", "retention", "tombstone_retention")
    return tuple(
        name
        for name in asked
        if getattr(existing, name) != getattr(wanted, name) and _ONLY_FOR.get(name, wanted.cleanup) == wanted.cleanup
    )


def compare(existing: TopicSpec, wanted: TopicSpec) -> None:
    """Raise `TopicMismatch`, with the way out, when a topic is not as wanted."""
    found = differences(existing, wanted)
    if found:
        told = (f"{name} is {getattr(existing, name)!r}, wanted {getattr(wanted, name)!r}" for name in found)
        alterable = found == ("retention",) and not wanted.internal
        raise TopicMismatch(
            f"topic {wanted.name!r} exists with other settings: {', '.join(told)}",
            fix="`flows topics --apply` alters it, or declare it as it is"
            if alterable
            else "declare it as it is, choose another name, or delete the topic first",
        )


def check_alterable(name: str, existing: TopicSpec | None) -> None:
    """Raise `UnknownTopic` where there is no topic, `BrokerError` where it keeps no records by their age."""
    if existing is None:
        raise UnknownTopic(f"cannot alter topic {name!r}: it does not exist")
    if existing.cleanup != "delete":
        raise BrokerError(
            f"topic {name!r} is compacted: it keeps the last record of each key, however old", fix="leave it as it is"
        )
