"""Java processes: started with their output in a file, ended with the process that started them, however that ends."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic

from tests.kafka import shared_classes

ROOT = Path(__file__).parents[2]
_LAST_LINES = 40
_LEASH = 'read _; kill -9 "$1"'
"""A shell that waits for the end of its input, which comes with the end of this process, then kills the other."""


class KafkaFailed(Exception):
    """Kafka, or what it needs, is not there, did not start or did not do as told; the message shows its last lines."""


@functools.cache
def installation() -> tuple[str, str]:
    """Return the path of java and the folder of Kafka's jars, fetched if need be.

    Raises KafkaFailed that says what is missing.
    """
    found = subprocess.run([ROOT / ".ci" / "kafka"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise KafkaFailed(found.stderr.strip())
    java, libs = found.stdout.splitlines()
    return java, libs


def command(
    main: str, *arguments: str, heap: str = "256m", optimised: bool = False, log_level: str = "info"
) -> list[str]:
    """Return the command that runs a main class of Kafka's; compiled quickly or, for measurements, well."""
    java, libs = installation()
    flags = [f"-Xmx{heap}", "-XX:+UseSerialGC", f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log_level}"]
    flags += [] if optimised else ["-XX:TieredStopAtLevel=1"]
    flags += ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
    flags += ["-Djava.awt.headless=true", *shared_classes.flags(java, libs)]
    return [java, *flags, "-cp", f"{libs}/*", main, *arguments]


def run(main: str, *arguments: str, seconds: float = 120.0, environ: Mapping[str, str] | None = None) -> str:
    """Run a main class to its end and return what it printed; raise KafkaFailed where it fails.

    `environ` are variables besides those of this process.
    """
    ended = subprocess.run(
        command(main, *arguments, log_level="warn"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, **(environ or {})},
    )
    if ended.returncode:
        raise KafkaFailed(f"{main} {' '.join(arguments)} ended with {ended.returncode}:\n{_tail(ended.stdout)}")
    return ended.stdout


def leash(pid: int) -> subprocess.Popen[bytes]:
    """Start what kills a process when this one ends; kill it before the process is waited for."""
    return subprocess.Popen(
        ["sh", "-c", _LEASH, "leash", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class Jvm:
    """One running main class, its output appended to `log`."""

    def __init__(self, log: Path, main: str, *arguments: str, heap: str, optimised: bool) -> None:
        self.log = log
        self._from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            # In a session of its own, so that Ctrl-C reaches the tests only, which then end it.
            self._process = subprocess.Popen(
                command(main, *arguments, heap=heap, optimised=optimised),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._leash = leash(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def await_line(self, text: str, seconds: float) -> None:
        """Wait until the process logs a line with `text`; raise KafkaFailed where it ends or takes longer."""
        deadline = monotonic() + seconds
        while not self._logged(text):
            if self._ended(within=0.05):
                raise KafkaFailed(f"Kafka ended with {self._process.returncode} before it was up:\n{self.tail()}")
            if monotonic() > deadline:
                raise KafkaFailed(f"Kafka did not log {text!r} within {seconds:g} s; {self.log}:\n{self.tail()}")

    def tail(self) -> str:
        return _tail(self.log.read_text("utf-8", "replace"))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals, seconds: float) -> None:
        """Send a signal and wait for the end; raise KafkaFailed, having killed it, where that takes longer."""
        try:
            self._process.send_signal(number)
            if not self._ended(within=seconds):
                raise KafkaFailed(f"Kafka did not end within {seconds:g} s of {number.name}:\n{self.tail()}")
        finally:
            self._unleash()
            self._process.kill()
            self._process.wait()

    def _unleash(self) -> None:
        # Before the process is waited for: until then nobody else can have its number.
        self._leash.kill()
        self._leash.communicate()

    def _ended(self, within: float) -> bool:
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _logged(self, text: str) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._from)
            return text.encode() in log.read()


def until(met: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition; raise KafkaFailed that names it where it is not met in time."""
    deadline = monotonic() + seconds
    while not met():
        if monotonic() > deadline:
            raise KafkaFailed(f"not within {seconds:g} s: {what}")


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_LAST_LINES:])
