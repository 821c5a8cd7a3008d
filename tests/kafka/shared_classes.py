"""Kafka's classes in a file that every JVM maps, instead of reading, checking and linking them from the jars by itself.

That saves half of the CPU time of a broker's start and of a tool's (JEP 350, dynamic archives). `make test` makes the
file where it is not there: `python -m tests.kafka.shared_classes`. It is in the cache folder, for one Java and one
folder of jars; a JVM that finds another's starts as if there were none.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path


def archive_of(java: str, libs: str) -> Path:
    """Return where the archive is, or would be."""
    real = Path(java).resolve()
    key = zlib.crc32(f"{real} {real.stat().st_mtime_ns} {libs}".encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flows-tests"
    return cache / f"kafka-classes-{key:08x}.jsa"


def flags(java: str, libs: str) -> list[str]:
    """Return what has a JVM use the archive, where it is there."""
    archive = archive_of(java, libs)
    # Whatever a JVM has to say about an archive would stand in the output of a tool.
    return [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archive.exists() else []


def main() -> None:
    """Have one broker start and stop, and keep the classes that it loaded."""
    from tests.kafka.cluster import Cluster
    from tests.kafka.jvm import installation

    archive = archive_of(*installation())
    if archive.exists():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=archive.name, dir=archive.parent) as folder:
        fresh = Path(folder) / archive.name
        # Read by every `java` that is started meanwhile; the broker is the last to end, and writes what stays.
        os.environ["JDK_JAVA_OPTIONS"] = f"-XX:ArchiveClassesAtExit={fresh} -Xlog:disable"
        with Cluster(Path(folder) / "kafka") as cluster:
            cluster.brokers[0].stop()
        fresh.replace(archive)


if __name__ == "__main__":
    main()
