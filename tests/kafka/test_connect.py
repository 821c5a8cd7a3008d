"""Opening a Kafka broker: what a URL and the settings may say, and what is told when the cluster says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.brokers.base import Committed, Outgoing, TopicPartition, TopicSpec, Transaction
from flows.brokers.kafka.connection import Connection, parse_servers
from flows.brokers.registry import open_broker
from flows.errors import BrokerError, BrokerUnavailable, UsageError
from tests.contracts.broker_fixtures import outgoing
from tests.kafka.cluster import Cluster, free_ports, unique
from tests.kafka.security import PASSWORDS, SCRAM


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("kafka://host", ("host:9092",)),
        ("kafka://a:1,b, c:3", ("a:1", "b:9092", "c:3")),
        ("kafka://[::1]:9093,[::1]", ("[::1]:9093", "[::1]:9092")),
    ],
)
def test_the_servers_of_a_url(url: str, servers: tuple[str, ...]) -> None:
    assert parse_servers(url) == servers


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("kafka://", "names no host; write kafka://host:9092"),
        ("kafka://host:port", "'host:port' is no host:port"),
        ("kafka://me:secret@host", "would be shown in logs and process lists"),
        ("kafka://host/topic", "has hosts only; write kafka://host"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        open_broker(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kafka_username": "me"}, "needs a user and a password; set FLOWS_KAFKA_PASSWORD"),
        ({"kafka_security_protocol": "sasl_ssl"}, "set FLOWS_KAFKA_USERNAME"),
        ({"kafka_username": "me", "kafka_password": "x", "kafka_security_protocol": "ssl"}, "ssl takes no password"),
        ({"kafka_ca_file": "ca.pem", "kafka_security_protocol": "plaintext"}, "plaintext is not encrypted"),
        ({"kafka_key_file": "key.pem"}, "kafka_key_file is set without kafka_cert_file"),
        (
            {"kafka_sasl_mechanism": "gssapi"},
            "kafka_sasl_mechanism 'gssapi' is unknown; use one of plain, scram-sha-256",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        open_broker("kafka://host", **settings)


def test_options_of_other_brokers_do_no_harm(tmp_path: Any) -> None:
    assert open_broker(f"embedded://{tmp_path}", lease=3.0, kafka_username="me", kafka_ca_file="ca.pem")


def test_a_password_is_not_shown() -> None:
    connection = Connection(servers=("host:9092",), username="me", password="secret")
    assert "secret" not in repr(connection)
    assert connection.client_options()["sasl_plain_password"] == "secret"


async def _start(url: str, **settings: Any) -> None:
    broker = open_broker(url, **settings)
    try:
        await broker.start()
    finally:
        await broker.close()


def _login(user: str = "admin", mechanism: str = "PLAIN") -> dict[str, str]:
    return {"kafka_username": user, "kafka_password": PASSWORDS[user], "kafka_sasl_mechanism": mechanism}


@pytest.mark.parametrize("listener", ["SASL", "SASL_TLS"])
@pytest.mark.parametrize("mechanism", ["plain", *SCRAM])
async def test_who_has_the_password_is_let_in(kafka_secure: Cluster, listener: str, mechanism: str) -> None:
    trust = {"kafka_ca_file": kafka_secure.certificates.authority} if "TLS" in listener else {}
    await _start(f"kafka://{kafka_secure.addresses(listener)}", **_login(mechanism=mechanism), **trust)


@pytest.mark.parametrize("listener", ["TLS", "MTLS"])
async def test_certificates_are_used(kafka_secure: Cluster, listener: str) -> None:
    certificates = kafka_secure.certificates
    mine = {"kafka_cert_file": certificates.certificate("admin"), "kafka_key_file": certificates.key("admin")}
    url = f"kafka://{kafka_secure.addresses(listener)}"
    await _start(url, kafka_ca_file=certificates.authority, **(mine if listener == "MTLS" else {}))


@pytest.mark.parametrize("mechanism", ["plain", *SCRAM])
async def test_a_wrong_password_is_final(kafka_secure: Cluster, mechanism: str) -> None:
    wrong = {**_login(mechanism=mechanism), "kafka_password": "guessed"}
    with pytest.raises(BrokerError, match=r"refuses user 'admin' by .*; check kafka_username, FLOWS_KAFKA_PASSWORD"):
        await _start(f"kafka://{kafka_secure.addresses('SASL')}", **wrong)


async def test_an_unknown_authority_is_final(kafka_secure: Cluster) -> None:
    with pytest.raises(BrokerError, match=r"is not trusted: .*; set kafka_ca_file"):
        await _start(
            f"kafka://{kafka_secure.addresses('TLS')}", kafka_ca_file=kafka_secure.certificates.other_authority
        )


@pytest.mark.parametrize("listener", ["SASL", "TLS"])
async def test_a_listener_that_wants_more_is_told_apart(kafka_secure: Cluster, listener: str) -> None:
    with pytest.raises(BrokerError, match="closed the connection when spoken to by plaintext; set kafka_security_pro"):
        await _start(f"kafka://{kafka_secure.addresses(listener)}")


async def test_an_encrypted_client_at_a_plain_listener_is_told(kafka_secure: Cluster) -> None:
    with pytest.raises(BrokerError, match=r"by ssl; set kafka_security_protocol|no encrypted connection"):
        await _start(kafka_secure.url, kafka_ca_file=kafka_secure.certificates.authority)


async def test_missing_certificate_files_are_named(kafka_secure: Cluster) -> None:
    with pytest.raises(UsageError, match=r"kafka_ca_file '/nowhere/ca.pem' is no file"):
        await _start(kafka_secure.url, kafka_ca_file=Path("/nowhere/ca.pem"))


async def test_an_unknown_host_is_named() -> None:
    with pytest.raises(BrokerError, match=r"host 'no-such-host.invalid' is unknown"):
        await _start("kafka://no-such-host.invalid:9092")


async def test_nobody_there_is_told() -> None:
    with pytest.raises(BrokerUnavailable, match=r"no Kafka broker answers at 127.0.0.1:.*Connection refused"):
        await _start(f"kafka://127.0.0.1:{free_ports(1)[0]}")


async def test_one_server_of_several_is_enough(kafka: Cluster) -> None:
    await _start(f"kafka://no-such-host.invalid,127.0.0.1:{free_ports(1)[0]},{kafka.bootstrap}")


async def test_who_has_no_rights_is_told_which(kafka_secure: Cluster) -> None:
    tp = TopicPartition(unique("topic"), 0)
    admin, guest = (
        open_broker(f"kafka://{kafka_secure.addresses('SASL')}", **_login(user)) for user in ("admin", "guest")
    )
    try:
        await admin.start()
        await guest.start()
        await admin.create_topic(TopicSpec(name=tp.topic))

        with pytest.raises(BrokerError, match=f"cannot create topic '{tp.topic}-2': .*no right to the topic"):
            await guest.create_topic(TopicSpec(name=f"{tp.topic}-2"))
        with pytest.raises(BrokerError, match="no right to the topic"):
            await guest.produce({tp: outgoing(1)})
        with pytest.raises(BrokerError, match=f"cannot read {tp}: .*no right to the topic"):
            await guest.reader({tp: 0}).fetch(10, 20.0)
        with pytest.raises(BrokerError, match="no right to the consumer group"):
            await guest.committed("theirs", [tp])
        with pytest.raises(BrokerError, match="no right to the transactional id"):
            await guest.producer("theirs")

        producer = await admin.producer(unique("task"))
        await producer.commit(
            Transaction(group="ours", outputs={tp: Outgoing([None], [b"1"], [0])}, offsets={tp: Committed(1)})
        )
    finally:
        await admin.close()
        await guest.close()
