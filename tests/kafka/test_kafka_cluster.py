"""The harness itself: brokers that are up, die, hang, come back, and end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

from tests.kafka import jvm
from tests.kafka.clients import make_topic, read, send
from tests.kafka.cluster import Broker, Cluster, free_ports
from tests.kafka.jvm import KafkaFailed


async def test_a_record_goes_in_and_comes_out(kafka: Cluster) -> None:
    topic = await make_topic(kafka.bootstrap)
    await send(kafka.bootstrap, topic, b"one", b"two")
    assert await read(kafka.bootstrap, topic) == [b"one", b"two"]


async def test_a_transaction_goes_through(kafka: Cluster) -> None:
    topic = await make_topic(kafka.bootstrap)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic) as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"kept", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"not kept", partition=0)
        await producer.abort_transaction()
    assert await read(kafka.bootstrap, topic) == [b"kept"]


async def test_a_topic_is_not_made_by_use(kafka: Cluster) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=1000) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("nobody-made-this", b"x")


async def test_the_tools_of_kafka_run(kafka: Cluster) -> None:
    topic = await make_topic(kafka.bootstrap, partitions=3)
    assert "PartitionCount: 3" in kafka.tool("TopicCommand", "--describe", "--topic", topic)
    with pytest.raises(KafkaFailed, match="does not exist"):
        kafka.tool("TopicCommand", "--describe", "--topic", "nobody-made-this")


def _killed(broker: Broker) -> None:
    broker.kill()
    broker.start()


def _hung_then_killed(broker: Broker) -> None:
    broker.suspend()
    _killed(broker)


@pytest.mark.parametrize("end", [Broker.restart, _killed, _hung_then_killed])
async def test_one_broker_comes_back_with_its_data(
    kafka_cluster: Callable[..., Cluster], end: Callable[[Broker], None]
) -> None:
    cluster = kafka_cluster()
    topic = await make_topic(cluster.bootstrap)
    await send(cluster.bootstrap, topic, b"before")
    end(cluster.brokers[0])
    await send(cluster.bootstrap, topic, b"after")
    assert await read(cluster.bootstrap, topic) == [b"before", b"after"]


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_two_of_three_brokers_go_on(kafka_three: Cluster, lost: int) -> None:
    topic = await make_topic(kafka_three.bootstrap, replication=3)
    await send(kafka_three.bootstrap, topic, b"three")
    kafka_three.brokers[lost].kill()
    await send(kafka_three.bootstrap, topic, b"two")
    assert await read(kafka_three.bootstrap, topic) == [b"three", b"two"]


def test_a_start_that_fails_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(KafkaFailed, match=r"num\.io\.threads"), Cluster(tmp_path, settings={"num.io.threads": "none"}):
        pass


def test_missing_jars_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLOWS_KAFKA_LIBS", str(tmp_path))
    with pytest.raises(KafkaFailed, match=r"FLOWS_KAFKA_LIBS is .* which lacks kafka_2\.13"):
        jvm.installation.__wrapped__()


def test_a_missing_java_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_JAVA", "/nowhere/java")
    with pytest.raises(KafkaFailed, match="Java 17 or later, and /nowhere/java is not there"):
        jvm.installation.__wrapped__()


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return _zombie(pid)


def _zombie(pid: int) -> bool:
    """Tell whether it ended and nobody has waited for it yet, as in a container whose first process does not."""
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_script_runs_a_cluster_that_ends_with_it(number: signal.Signals) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.kafka", "--port", str(port)]
    with subprocess.Popen(command, cwd=jvm.ROOT, stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == f"flows worker --broker kafka://127.0.0.1:{port}\n"
        pid = int(script.stdout.readline().split("process ")[1].split(";")[0])
        script.send_signal(number)
        script.communicate()
    jvm.until(lambda: _gone(pid), f"the end of broker {pid}")
