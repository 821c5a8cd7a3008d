"""The requests of Kafka's group protocol in the versions that carry a member's instance id.

Source: https://kafka.apache.org/protocol. aiokafka has JoinGroup 5 and SyncGroup 3; its Heartbeat and LeaveGroup are
older ones without the instance id, by which a broker cannot tell which of two holders of one id is the newer.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

PROTOCOL_TYPE = "consumer"
"""What Kafka's tools list as consumer groups; their offsets are kept while a member subscribes to the topics."""


class GroupCode(IntEnum):
    """The error codes of group requests, besides those of a coordinator that moved."""

    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82


class HeartbeatResponse_v3(Response):
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequest_v3(RequestStruct):
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse_v3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class Heartbeat(Request[HeartbeatRequest_v3]):
    """Say that a member of this generation is alive."""

    API_KEY = 12

    def __init__(self, group: str, generation: int, member_id: str, instance: str) -> None:
        self._fields = (group, generation, member_id, instance)

    def build(self, request_struct_class: Any) -> HeartbeatRequest_v3:
        return HeartbeatRequest_v3(*self._fields)


class LeaveGroupResponse_v3(Response):
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class LeaveGroupRequest_v3(RequestStruct):
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponse_v3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class LeaveGroup(Request[LeaveGroupRequest_v3]):
    """Give a place up; with an empty member id that of whoever holds the instance id now."""

    API_KEY = 13

    def __init__(self, group: str, member_id: str, instance: str) -> None:
        self._fields = (group, [(member_id, instance)])

    def build(self, request_struct_class: Any) -> LeaveGroupRequest_v3:
        return LeaveGroupRequest_v3(*self._fields)


class DescribeGroupsResponse_v4(Response):
    API_KEY = 15
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", String("utf-8")),
                ("state", String("utf-8")),
                ("protocol_type", String("utf-8")),
                ("protocol", String("utf-8")),
                (
                    "members",
                    Array(
                        ("member_id", String("utf-8")),
                        ("group_instance_id", String("utf-8")),
                        ("client_id", String("utf-8")),
                        ("client_host", String("utf-8")),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class DescribeGroupsRequest_v4(RequestStruct):
    API_KEY = 15
    API_VERSION = 4
    RESPONSE_TYPE = DescribeGroupsResponse_v4
    SCHEMA = Schema(("groups", Array(String("utf-8"))), ("include_authorized_operations", Boolean))


class DescribeGroup(Request[DescribeGroupsRequest_v4]):
    """Ask for the members of a group."""

    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: Any) -> DescribeGroupsRequest_v4:
        return DescribeGroupsRequest_v4([self._group], False)
