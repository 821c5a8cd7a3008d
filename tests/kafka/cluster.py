"""One to three real Kafka brokers on this machine, each of which can be stopped, killed, suspended and started again.

    with Cluster(folder, brokers=3) as cluster:
        app = open_broker(cluster.url)          # kafka://127.0.0.1:21001,127.0.0.1:22010,…
        cluster.brokers[0].kill()
        cluster.brokers[0].start()              # on the same ports, with its data

Every broker is a controller too. Topics are never made by use. Coordinators answer at once, sessions may be short, and
a group waits for no further members: what a real cluster does too, sooner.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self
from uuid import uuid4

from tests.kafka import security
from tests.kafka.jvm import Jvm, KafkaFailed, run

_PORTS = range(20_000, 32_000)
"""Below those the system gives to outgoing connections: one of these could take a killed broker's port."""

_UP = "Kafka Server started"
_START_SECONDS, _STOP_SECONDS = 120.0, 60.0
_CLUSTER_ID = "Zmxvd3MtdGVzdHMtZmxvdw"

_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
    # Retention and compaction act within a second or two, where a topic asks for them.
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def unique(what: str) -> str:
    """Return a name for a topic or group that no other test of a shared cluster has."""
    return f"{what}-{uuid4().hex[:8]}"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at, and that no outgoing connection is given."""
    found: list[int] = []
    # Processes that run the suite side by side (pytest-xdist) would find the same one free before either takes it.
    process, processes = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    own = _PORTS[int(process.removeprefix("gw")) % int(processes) :: int(processes)]
    for port in random.SystemRandom().sample(own, len(own)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


class Broker:
    """One broker; its ports and data outlive its process."""

    def __init__(self, node: int, folder: Path, ports: Mapping[str, int], heap: str, optimised: bool) -> None:
        self.node, self.folder, self.ports = node, folder, dict(ports)
        self.log = folder / "broker.log"
        self._heap, self._optimised = heap, optimised
        self._jvm: Jvm | None = None
        self.suspended = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['PLAINTEXT']}"

    @property
    def running(self) -> bool:
        """Tell whether its process lives, be it suspended."""
        return self._jvm is not None and self._jvm.running

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it serves; it needs a majority of the controllers to be up for that."""
        assert not self.running, f"broker {self.node} runs already"
        self.suspended = False
        properties = str(self.folder / "server.properties")
        self._jvm = Jvm(self.log, "kafka.Kafka", properties, heap=self._heap, optimised=self._optimised)
        if wait:
            self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until it serves; raise KafkaFailed with the last lines of its log where it does not."""
        self._running().await_line(_UP, _START_SECONDS)

    def stop(self) -> None:
        """Stop it cleanly: it hands its partitions over first."""
        jvm, self._jvm = self._running(), None
        jvm.end(signal.SIGTERM, _STOP_SECONDS)

    def kill(self) -> None:
        """End it by SIGKILL, suspended or not."""
        jvm, self._jvm = self._running(), None
        jvm.end(signal.SIGKILL, _STOP_SECONDS)

    def suspend(self) -> None:
        """Stop its threads: its connections stay open, and nobody answers."""
        self._running().signal(signal.SIGSTOP)
        self.suspended = True

    def resume(self) -> None:
        """Let it go on after `suspend`."""
        self._running().signal(signal.SIGCONT)
        self.suspended = False

    def restart(self) -> None:
        """Stop it cleanly and start it again."""
        self.stop()
        self.start()

    def _running(self) -> Jvm:
        if self._jvm is None:
            raise KafkaFailed(f"broker {self.node} is not running")
        return self._jvm


class Cluster:
    """Brokers that form one cluster.

    `secure` adds the listeners and rights of `tests.kafka.security`; `optimised` is for measurements: Java compiles
    its code well instead of quickly, which doubles the CPU time of a start.
    """

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        *,
        port: int | None = None,
        secure: bool = False,
        heap: str = "512m",
        optimised: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.certificates = security.Certificates(folder / "certificates") if secure else None
        names = ["PLAINTEXT", "CONTROLLER", *(security.LISTENERS if secure else ())]
        ports = free_ports(brokers * len(names))
        self.brokers = []
        for node in range(1, brokers + 1):
            own = dict(zip(names, ports[node - 1 :: brokers], strict=True))
            if port is not None:
                own["PLAINTEXT"] = port + node - 1
            self.brokers.append(Broker(node, folder / f"broker-{node}", own, heap, optimised))
        self._settings = {**_SETTINGS, **self._replication(), **(settings or {})}
        self._formatted = False

    @property
    def bootstrap(self) -> str:
        """The plain addresses of all brokers, up or not."""
        return self.addresses("PLAINTEXT")

    @property
    def url(self) -> str:
        """What `--broker` is given."""
        return f"kafka://{self.bootstrap}"

    def addresses(self, listener: str) -> str:
        """Return the brokers' addresses at a listener: PLAINTEXT, or one of `security.LISTENERS`."""
        return ",".join(f"127.0.0.1:{broker.ports[listener]}" for broker in self.brokers)

    def start(self) -> None:
        """Start the brokers that do not run, let suspended ones go on, and wait until all are up."""
        if not self._formatted:
            self._format()
        for broker in self.brokers:
            if broker.running:
                broker.resume()
            else:
                broker.start(wait=False)
        for broker in self.brokers:
            broker.wait_until_up()

    def close(self) -> None:
        """Kill the brokers and remove their data; the logs stay."""
        for broker in self.brokers:
            if broker.running:
                broker.kill()
            shutil.rmtree(broker.folder / "data", ignore_errors=True)

    def tool(self, main: str, *arguments: str) -> str:
        """Run a command line tool of Kafka's on this cluster and return what it printed.

        `cluster.tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", "airport")` takes a second. Other
        names: TopicCommand, AclCommand, LeaderElectionCommand, GetOffsetShell, reassign.ReassignPartitionsCommand.
        """
        answering = ",".join(b.address for b in self.brokers if b.running and not b.suspended)
        return run(f"org.apache.kafka.tools.{main}", "--bootstrap-server", answering, *arguments)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replication(self) -> dict[str, str]:
        copies, least = str(len(self.brokers)), "2" if len(self.brokers) > 2 else "1"
        return {
            "default.replication.factor": copies,
            "min.insync.replicas": least,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": least,
        }

    def _format(self) -> None:
        arguments = ["format", "-t", _CLUSTER_ID, *(security.format_arguments() if self.certificates else ())]
        for broker in self.brokers:
            broker.folder.mkdir(parents=True, exist_ok=True)
            lines = (f"{name}={value}\n" for name, value in self._properties(broker).items())
            (broker.folder / "server.properties").write_text("".join(lines))

        def one(broker: Broker) -> None:
            run("kafka.tools.StorageTool", *arguments, "-c", str(broker.folder / "server.properties"))

        with ThreadPoolExecutor() as pool:
            list(pool.map(one, self.brokers))
        self._formatted = True

    def _properties(self, broker: Broker) -> dict[str, str]:
        listeners = [f"{name}://127.0.0.1:{port}" for name, port in broker.ports.items()]
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        protocols |= security.LISTENERS if self.certificates else {}
        voters = [f"{b.node}@127.0.0.1:{b.ports['CONTROLLER']}" for b in self.brokers]
        return {
            "node.id": str(broker.node),
            "log.dirs": str(broker.folder / "data"),
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(entry for entry in listeners if not entry.startswith("CONTROLLER")),
            "listener.security.protocol.map": ",".join(f"{name}:{how}" for name, how in protocols.items()),
            "controller.quorum.voters": ",".join(voters),
            **self._settings,
            **(security.settings(self.certificates) if self.certificates else {}),
        }
