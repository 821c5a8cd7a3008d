"""What Kafka answers when it refuses, and what that means here: https://kafka.apache.org/protocol#protocol_error_codes."""

from __future__ import annotations

from enum import IntEnum

from flows.errors import BrokerError, BrokerUnavailable, Fenced, OutcomeUnknown, RecordTooLarge, UnknownTopic


class Code(IntEnum):
    """The error codes that something is done about."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    BROKER_NOT_AVAILABLE = 8
    REPLICA_NOT_AVAILABLE = 9
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    NETWORK_EXCEPTION = 13
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    ILLEGAL_GENERATION = 22
    UNKNOWN_MEMBER_ID = 25
    REBALANCE_IN_PROGRESS = 27
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTION_COORDINATOR_FENCED = 52
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56
    UNKNOWN_PRODUCER_ID = 59
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    OFFSET_NOT_AVAILABLE = 78
    FENCED_INSTANCE_ID = 82
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    TRANSACTION_ABORTABLE = 120


STALE = frozenset(
    {
        Code.UNKNOWN_TOPIC_OR_PARTITION,
        Code.LEADER_NOT_AVAILABLE,
        Code.NOT_LEADER_OR_FOLLOWER,
        Code.BROKER_NOT_AVAILABLE,
        Code.REPLICA_NOT_AVAILABLE,
        Code.NETWORK_EXCEPTION,
        Code.KAFKA_STORAGE_ERROR,
        Code.FENCED_LEADER_EPOCH,
        Code.UNKNOWN_LEADER_EPOCH,
        Code.NOT_CONTROLLER,
    }
)
"""The partition's leader is another now, or will be: ask for the metadata and try again."""

MOVED = frozenset({Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR})
"""The coordinator is another now: look for it and try again."""

BUSY = frozenset(
    {
        Code.COORDINATOR_LOAD_IN_PROGRESS,
        Code.REQUEST_TIMED_OUT,
        Code.NOT_ENOUGH_REPLICAS,
        Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Code.CONCURRENT_TRANSACTIONS,
        Code.OPERATION_NOT_ATTEMPTED,
        Code.OFFSET_NOT_AVAILABLE,
        Code.UNSTABLE_OFFSET_COMMIT,
        Code.THROTTLING_QUOTA_EXCEEDED,
    }
)
"""The same request will do in a moment."""

BETWEEN_ROUNDS = frozenset({Code.ILLEGAL_GENERATION, Code.REBALANCE_IN_PROGRESS})
"""A round of the group has just ended, and this member is about to hear of its new generation: it will do with that."""

RETRIABLE = STALE | MOVED | BUSY | BETWEEN_ROUNDS
FENCING = frozenset({Code.INVALID_PRODUCER_EPOCH, Code.PRODUCER_FENCED, Code.INVALID_PRODUCER_ID_MAPPING})
"""A newer producer has the transactional id, or the coordinator ended a transaction that took too long."""

_OUSTED = frozenset({Code.UNKNOWN_MEMBER_ID, Code.FENCED_INSTANCE_ID})

_OUT_OF_STEP = frozenset(
    {
        Code.INVALID_TXN_STATE,
        Code.UNKNOWN_PRODUCER_ID,
        Code.OUT_OF_ORDER_SEQUENCE_NUMBER,
        Code.DUPLICATE_SEQUENCE_NUMBER,
        Code.TRANSACTION_ABORTABLE,
    }
)
_DENIED = {
    Code.TOPIC_AUTHORIZATION_FAILED: "the topic",
    Code.GROUP_AUTHORIZATION_FAILED: "the consumer group",
    Code.CLUSTER_AUTHORIZATION_FAILED: "the cluster",
    Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the transactional id",
}


class Lost(Exception):
    """A connection could not be made or was lost; whether the request was carried out is not known."""


class TooOld(BrokerError):
    """A broker does not know a request in any version that is spoken here."""


class Unreachable(Lost):
    """No connection could be made: the request was not sent."""


class Refused(Exception):
    """The broker answered a request with an error code."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(f"{name_of(code)}{f': {text}' if text else ''}")
        self.code = code

    @property
    def retriable(self) -> bool:
        return self.code in RETRIABLE


def name_of(code: int) -> str:
    """Return the name that Kafka's documentation gives an error code."""
    try:
        return Code(code).name
    except ValueError:
        return f"Kafka error {code}"


def check(code: int, text: str | None = None) -> None:
    """Raise `Refused` unless the code is 0."""
    if code:
        raise Refused(code, text)


def fault(error: Exception, doing: str) -> BrokerError:
    """Turn what went wrong into the error a person reads; `doing` is the beginning: "cannot …"."""
    if isinstance(error, BrokerError):
        return error
    if not isinstance(error, Refused):
        return BrokerUnavailable(f"{doing}: {error}", fix="check that the Kafka brokers are up and reachable")
    if error.code in _DENIED:
        return BrokerError(
            f"{doing}: this user has no right to {_DENIED[Code(error.code)]} ({name_of(error.code)})",
            fix="let an administrator add the right with kafka-acls, see docs/operating.md",
        )
    if error.code in FENCING:
        return Fenced(
            f"{doing}: another producer has taken over, or the transaction took too long ({name_of(error.code)})",
            fix="stop the task here; its new holder goes on from the committed offsets",
        )
    if error.code in _OUSTED:
        return Fenced(
            f"{doing}: this member has lost its place in the group ({name_of(error.code)})",
            fix="drop its tasks and join again; raise the setting lease if that happens in normal work",
        )
    if error.code in _OUT_OF_STEP:
        return OutcomeUnknown(f"{doing}: the broker's view of this producer is another ({error})")
    if error.code in (Code.MESSAGE_TOO_LARGE, Code.RECORD_LIST_TOO_LARGE):
        return RecordTooLarge(f"{doing}: {error}", fix="raise max.message.bytes of the topic, or send smaller records")
    if error.code == Code.UNKNOWN_TOPIC_OR_PARTITION:
        return UnknownTopic(f"{doing}: it does not exist", fix="create the topic first")
    if error.code == Code.OFFSET_METADATA_TOO_LARGE:
        return BrokerError(
            f"{doing}: the time marks kept with the offset are larger than the broker takes",
            fix="raise offset.metadata.max.bytes of the brokers",
        )
    if error.retriable:
        return BrokerUnavailable(f"{doing}: {error}", fix="check that the Kafka brokers are up and in sync")
    return BrokerError(f"{doing}: {error}")
