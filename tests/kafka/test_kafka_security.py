"""The harness's listeners: who is let in, by password or certificate, and who may do what."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from aiokafka.helpers import create_ssl_context

from tests.kafka.clients import make_topic, read, send
from tests.kafka.cluster import Cluster
from tests.kafka.security import PASSWORDS, SCRAM


def _tls(cluster: Cluster, user: str | None = None) -> ssl.SSLContext:
    assert cluster.certificates is not None
    named = (
        {"certfile": cluster.certificates.certificate(user), "keyfile": cluster.certificates.key(user)} if user else {}
    )
    return create_ssl_context(cafile=str(cluster.certificates.authority), **named)


def _client(cluster: Cluster, listener: str, user: str = "admin", mechanism: str = "PLAIN") -> dict[str, Any]:
    """Return aiokafka's settings for a user at a listener."""
    found: dict[str, Any] = {}
    if "SASL" in listener:
        found |= {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": PASSWORDS[user]}
        found["security_protocol"] = "SASL_PLAINTEXT"
    if "TLS" in listener:
        found["ssl_context"] = _tls(cluster, user if listener == "MTLS" else None)
        found["security_protocol"] = "SASL_SSL" if "SASL" in listener else "SSL"
    return found


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [("PLAINTEXT", ""), ("TLS", ""), ("MTLS", "")]
    + [(listener, mechanism) for listener in ("SASL", "SASL_TLS") for mechanism in ("PLAIN", *SCRAM)],
)
async def test_the_admin_may_write_and_read(kafka_secure: Cluster, listener: str, mechanism: str) -> None:
    client = _client(kafka_secure, listener, mechanism=mechanism)
    where = kafka_secure.addresses(listener)
    topic = await make_topic(where, **client)
    await send(where, topic, b"one", **client)
    assert await read(where, topic, **client) == [b"one"]


@pytest.mark.parametrize("listener", ["SASL", "MTLS", "SASL_TLS"])
async def test_the_guest_may_not(kafka_secure: Cluster, listener: str) -> None:
    topic = await make_topic(kafka_secure.bootstrap)
    with pytest.raises(TopicAuthorizationFailedError):
        await send(kafka_secure.addresses(listener), topic, b"one", **_client(kafka_secure, listener, "guest"))


async def test_the_guest_may_what_an_acl_says(kafka_secure: Cluster) -> None:
    topic = await make_topic(kafka_secure.bootstrap)
    kafka_secure.tool("AclCommand", "--add", "--allow-principal", "User:guest", "--producer", "--topic", topic)
    where, client = kafka_secure.addresses("SASL"), _client(kafka_secure, "SASL", "guest")
    await send(where, topic, b"one", **client)
    assert await read(kafka_secure.bootstrap, topic) == [b"one"]


@pytest.mark.parametrize("mechanism", ["PLAIN", *SCRAM])
async def test_a_wrong_password_is_refused(kafka_secure: Cluster, mechanism: str) -> None:
    client = _client(kafka_secure, "SASL", mechanism=mechanism) | {"sasl_plain_password": "wrong"}
    with pytest.raises(KafkaConnectionError):
        await send(kafka_secure.addresses("SASL"), "any", b"one", **client)


async def test_an_unknown_authority_is_refused(kafka_secure: Cluster) -> None:
    assert kafka_secure.certificates is not None
    context = create_ssl_context(cafile=str(kafka_secure.certificates.other_authority))
    with pytest.raises(KafkaConnectionError):
        await send(kafka_secure.addresses("TLS"), "any", b"one", security_protocol="SSL", ssl_context=context)


async def test_a_client_without_a_certificate_is_refused(kafka_secure: Cluster) -> None:
    client = {"security_protocol": "SSL", "ssl_context": _tls(kafka_secure)}
    with pytest.raises(KafkaConnectionError):
        await send(kafka_secure.addresses("MTLS"), "any", b"one", **client)
