"""The first contact with a cluster: what goes wrong there is told at once, in one line, with the fix."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from flows.brokers.kafka.connection import Connection
from flows.brokers.kafka.faults import Lost
from flows.errors import BrokerError, BrokerUnavailable

_PATIENCE = 5.0
"""How long servers that refuse connections are asked again at a start: they may be starting too."""

_PAUSE = 0.25
_CONNECT_SECONDS = 5.0


async def first_metadata(connection: Connection, options: Mapping[str, Any]) -> Any:
    """Ask the bootstrap servers in turn who the brokers are.

    Raises `BrokerError` when a server says no for good (a wrong password, a wrong protocol, an unknown host), and
    `BrokerUnavailable` when none can be reached.
    """
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            return await any_metadata(connection, options, [])
        except _Wrong as wrong:
            if wrong.sure or asyncio.get_running_loop().time() > deadline:
                raise BrokerError(wrong.message, fix=wrong.fix) from wrong
        except Lost as lost:
            if asyncio.get_running_loop().time() > deadline:
                raise BrokerUnavailable(
                    f"no Kafka broker answers at {connection.address}: {lost}",
                    fix="check that it runs, and that the address in --broker is right",
                ) from lost
        await asyncio.sleep(_PAUSE)


async def any_metadata(connection: Connection, options: Mapping[str, Any], topics: Sequence[str]) -> Any:
    """Ask the bootstrap servers until one answers; raises `Lost` with each one's reason."""
    reasons: list[str] = []
    wrongs: list[_Wrong] = []
    for server in connection.servers:
        try:
            return await _metadata_of(server, connection, options, topics)
        except _Wrong as wrong:
            wrongs.append(wrong)
            reasons.append(str(wrong))
        except Lost as lost:
            reasons.append(str(lost))
    if len(wrongs) == len(connection.servers):
        raise wrongs[0]
    raise Lost("; ".join(reasons))


async def check_advertised(
    connection: Connection, nodes: Mapping[int, tuple[str, int]], link: Callable[[int], Awaitable[Any]]
) -> None:
    """Connect to one of the brokers where the cluster says they are: often a name that only they know."""
    reasons = []
    for node in nodes:
        try:
            await link(node)
        except Lost as lost:
            reasons.append(str(lost))
        else:
            return
    raise BrokerUnavailable(
        f"the cluster at {connection.address} names brokers that cannot be reached from here: {'; '.join(reasons)}",
        fix="set advertised.listeners of the brokers to addresses that this machine can reach",
    )


def reason(server: str, error: BaseException, connection: Connection) -> str:
    """Tell in one line why a connection failed."""
    wrong = _wrong(server, error, connection)
    return str(wrong) if wrong else f"{server}: {_short(error)}"


class _Wrong(Lost):
    """The settings do not fit the server; unless that is `sure`, it may also be on its way up or down."""

    def __init__(self, message: str, fix: str, *, sure: bool = True) -> None:
        super().__init__(f"{message}; {fix}")
        self.message, self.fix, self.sure = message, fix, sure


async def _metadata_of(server: str, connection: Connection, options: Mapping[str, Any], topics: Sequence[str]) -> Any:
    host, _, port = server.rpartition(":")
    quick = {**options, "request_timeout_ms": int(_CONNECT_SECONDS * 1000)}
    link = AIOKafkaConnection(host.strip("[]"), int(port), **quick)
    try:
        await link.connect()
        # Only an answer to this shows that we are let in: the first request of all is open to everybody.
        return await link.send(MetadataRequest(list(topics), allow_auto_topic_creation=False))
    except (KafkaError, OSError, TimeoutError, AssertionError, ValueError) as error:
        raise _wrong(server, error, connection) or Lost(f"{server}: {_short(error)}") from error
    finally:
        link.close()


def _wrong(server: str, error: BaseException, connection: Connection) -> _Wrong | None:
    """Return the error where the settings are at fault."""
    how = connection.protocol.lower()
    if isinstance(error, socket.gaierror):
        return _Wrong(f"host {server.rpartition(':')[0]!r} is unknown ({error.strerror})", "check the name in --broker")
    if isinstance(error, SaslAuthenticationFailed):
        return _Wrong(
            f"Kafka at {server} refuses user {connection.username!r} by {connection.mechanism}",
            "check kafka_username, FLOWS_KAFKA_PASSWORD and kafka_sasl_mechanism",
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return _Wrong(
            f"Kafka at {server} does not offer {connection.mechanism}: {error}",
            "set kafka_sasl_mechanism to one of them",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return _Wrong(
            f"the certificate of Kafka at {server} is not trusted: {error.verify_message}",
            "set kafka_ca_file to the authority that signed it, and use a host name that is in it",
        )
    if isinstance(error, ssl.SSLError):
        return _Wrong(
            f"no encrypted connection to Kafka at {server}: {error.reason or error}",
            f"this listener may not be encrypted (kafka_security_protocol is {how}), or want a client certificate "
            "(kafka_cert_file)",
        )
    if isinstance(
        error, KafkaConnectionError | IllegalSaslStateError | ConnectionResetError | asyncio.IncompleteReadError
    ):
        return _Wrong(
            f"Kafka at {server} closed the connection when spoken to by {how}",
            "set kafka_security_protocol to what this listener speaks: it may want encryption, a password or a "
            "client certificate",
            sure=False,
        )
    return None


def _short(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
