"""Who runs W1 on Kafka: Flows and its peers, each a process of its own, installed apart and once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.kafka.jvm import ROOT, installation

PEERS = Path(__file__).parent / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "flows-tests" / "peers"


class Entry(NamedTuple):
    """What a contestant is told: where the events are, its group, its data folder, the partitions' last offsets."""

    bootstrap: str
    topic: str
    group: str
    folder: Path
    ends: list[int]


class Contestant(NamedTuple):
    """A system in one configuration; `share` is the part of the events it gets, since some would take minutes."""

    name: str
    durability: str
    command: Callable[[Entry], list[str]]
    share: float = 1.0
    commits_to_group: bool = True


def flows_worker(module: str, guarantee: str) -> Callable[[Entry], list[str]]:
    """Return what makes the command of a worker as anybody would start it."""

    def command(entry: Entry) -> list[str]:
        worker = [sys.executable, "-m", "flows", "worker", "-A", module, "-l", "warning"]
        broker = ["--broker", f"kafka://{entry.bootstrap}", "--set", "kafka_replication=1"]
        return [*worker, *broker, "--data", str(entry.folder), "--web-port", "-1", "--guarantee", guarantee]

    return command


def _python(peer: str, *more: str) -> Callable[[Entry], list[str]]:
    def command(entry: Entry) -> list[str]:
        return [
            *(str(_venv(peer)), str(PEERS / f"run_{peer}.py")),
            *(entry.bootstrap, entry.topic, entry.group, str(entry.folder), *more),
        ]

    return command


def _streams(guarantee: str) -> Callable[[Entry], list[str]]:
    def command(entry: Entry) -> list[str]:
        java, _ = installation()
        ends = ",".join(map(str, entry.ends))
        return [
            *(java, "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{_jars()}/*"),
            *(str(PEERS / "KafkaStreams.java"), entry.bootstrap, entry.topic, entry.group, str(entry.folder)),
            *(guarantee, ends),
        ]

    return command


_W1 = "tests.benchmarks.kafka_app"
_STORED = "RocksDB + changelog"
CONTESTANTS = [
    Contestant("flows", f"{_STORED}, exactly once", flows_worker(_W1, "exactly_once")),
    Contestant("flows-at-least-once", f"{_STORED}, at least once", flows_worker(_W1, "at_least_once")),
    Contestant("kafka-streams", f"{_STORED}, exactly once (v2)", _streams("exactly_once_v2")),
    Contestant("kafka-streams-at-least-once", f"{_STORED}, at least once", _streams("at_least_once")),
    Contestant("quix", f"{_STORED}, exactly once", _python("quix", "exactly_once"), 0.5),
    Contestant("quix-at-least-once", f"{_STORED}, at least once", _python("quix", "at_least_once"), 0.5),
    Contestant("bytewax", "snapshots in SQLite, at least once", _python("bytewax"), 0.5, commits_to_group=False),
    Contestant("faust", f"{_STORED}, at least once", _python("faust"), 0.1),
]


def _venv(peer: str) -> Path:
    """Return the Python of a peer's venv, made where its requirements have changed."""
    wanted = PEERS / f"{peer}.txt"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{peer}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"Installing {peer} into {folder}, once", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True)
        (folder / "installed").touch()
    return python


def _jars() -> Path:
    """Return the folder of Kafka Streams' jars, fetched by Maven where they are not there."""
    libs = CACHE / "kafka-streams-4.1.0"
    if not libs.exists():
        print(f"Fetching the jars of Kafka Streams into {libs}, once", flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as fresh:
            plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
            maven = ["mvn", "--batch-mode", "--quiet", "--file", str(PEERS / "pom.xml"), plugin]
            subprocess.run([*maven, f"-DoutputDirectory={fresh}/libs"], check=True, cwd=ROOT)
            (Path(fresh) / "libs").rename(libs)
    return libs
