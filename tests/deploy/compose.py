"""What docker-compose.yml says, run by hand: its commands and variables, with hosts, ports and folders of this machine.

A service's host becomes 127.0.0.1 with a free port for each of its own; named volumes and secrets become folders and
files below a temporary one, and what is mounted from the checkout is linked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

from tests.kafka.cluster import Broker, free_ports
from tests.kafka.jvm import run

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-tests"
_MOST_PORTS = 20
_FLOWS = (sys.executable, "-m", "flows")


def read_yaml(path: str) -> Any:
    return YAML(typ="safe", pure=True).load(ROOT / path)


def read_compose() -> Any:
    return read_yaml("docker-compose.yml")


def dockerfile(instruction: str) -> list[str]:
    """Return the arguments of an instruction, once for each time that the Dockerfile has it."""
    return re.findall(rf"^{instruction} (.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)


class Here:
    """The services of docker-compose.yml on this machine, of which the brokers and the workers can be started.

    What is in the folder `packages` is installed for the workers too, and comes first.
    """

    def __init__(self, folder: Path, packages: Path) -> None:
        self.folder = folder
        self._python_path = os.pathsep.join(map(str, (packages, ROOT)))
        self.services: dict[str, Any] = read_compose()["services"]
        self.brokers = {name: self._broker(name) for name in self.named("kafka")}
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        free = iter(free_ports(_MOST_PORTS))
        self._ports: defaultdict[tuple[str, str], int] = defaultdict(lambda: next(free))
        secrets = folder / "run" / "secrets"
        secrets.mkdir(parents=True)
        (secrets / "web_token").write_text(TOKEN)

    def named(self, what: str) -> list[str]:
        return [name for name in self.services if name.startswith(f"{what}-")]

    def address(self, host: str, port: str) -> str:
        """Return where a service's port is here."""
        return f"127.0.0.1:{self._ports[host, port]}"

    def translated(self, service: str, text: str) -> str:
        """Put this machine's addresses and folders into a value of the file."""
        hosts = "|".join(self.services)
        text = re.sub(r"(?<=://):(\d+)", lambda m: self.address(service, m[1]), text)
        text = re.sub(rf"\b({hosts}):(\d+)", lambda m: self.address(m[1], m[2]), text)
        if text.startswith("/"):
            return str(self._mounted(service, text))
        return "127.0.0.1" if text in ("0.0.0.0", service) else text

    def environment(self, service: str) -> dict[str, str]:
        """Return a service's variables."""
        given = self.services[service]["environment"]
        found = {name: self.translated(service, str(value)) for name, value in given.items()}
        if "FLOWS_WEB_PORT" in found:
            found["FLOWS_WEB_PORT"] = self.address(service, found["FLOWS_WEB_PORT"]).rpartition(":")[2]
        # Its name is 127.0.0.1 here, but its id is its id.
        return found | {name: str(given[name]) for name in given if name.endswith("INSTANCE_ID")}

    def start_brokers(self) -> None:
        """Set the brokers up as the image does, by the program that is in it, and start them."""
        for name, broker in self.brokers.items():
            broker.folder.mkdir()
            nothing = str(self.folder / "none")
            places = {"default": nothing, "mounted": nothing, "final": str(broker.folder)}
            options = [word for place, path in places.items() for word in (f"--{place}-configs-dir", path)]
            run("kafka.docker.KafkaDockerWrapper", "setup", *options, environ=self.environment(name))
        for broker in self.brokers.values():
            broker.start(wait=False)
        for broker in self.brokers.values():
            broker.wait_until_up()

    def start_worker(self, service: str) -> None:
        """Start a worker by the image's entry point and the service's command, where the image would."""
        (entry,) = dockerfile("ENTRYPOINT")
        assert entry == '["flows"]'
        home = self.folder / service
        home.mkdir()
        for mount in self.services[service]["volumes"]:
            source, target, *_ = mount.split(":")
            if source.startswith("./"):
                link = home / Path(target).relative_to(*dockerfile("WORKDIR")[-1:])
                link.symlink_to(ROOT / source)
        arguments = [self.translated(service, argument) for argument in self.services[service]["command"]]
        with self.log(service).open("wb") as log:
            self.workers[service] = subprocess.Popen(
                [*_FLOWS, *arguments],
                cwd=home,
                env=self._whole_environment(service),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def execute(self, service: str, *arguments: str) -> str:
        """Run a command of Flows beside a started worker, as `docker compose exec` would, and return what it prints."""
        done = subprocess.run(
            [*_FLOWS, *arguments],
            cwd=self.folder / service,
            env=self._whole_environment(service),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _whole_environment(self, service: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("FLOWS_")}
        return {**own, "PYTHONPATH": self._python_path, **self.environment(service)}

    def log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.workers.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        for broker in self.brokers.values():
            if broker.running:
                broker.kill()

    def _broker(self, service: str) -> Broker:
        heap = self.services[service]["environment"]["KAFKA_HEAP_OPTS"].removeprefix("-Xmx")
        node = int(self.services[service]["environment"]["KAFKA_NODE_ID"])
        return Broker(node, self.folder / service, {}, heap, optimised=False)

    def _mounted(self, service: str, path: str) -> Path:
        if path.startswith("/run/secrets/"):
            assert Path(path).name in self.services[service]["secrets"], f"{service} is not given {path}"
            return self.folder / path.removeprefix("/")
        for mount in self.services[service]["volumes"]:
            source, target, *_ = mount.split(":")
            if path == target:
                return self.folder / "volumes" / source
        raise AssertionError(f"{service}: nothing is mounted at {path}, so it is lost with the container")
