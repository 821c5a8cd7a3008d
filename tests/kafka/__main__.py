"""A cluster to try things on: `python -m tests.kafka [--brokers 3] [--port 9092]` runs until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import tempfile
from pathlib import Path

from tests.kafka.cluster import Cluster
from tests.kafka.jvm import KafkaFailed


def main() -> None:
    """Run a cluster until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka", description=__doc__)
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--port", type=int, help="of the first broker; others follow. Default: free ones")
    parser.add_argument("--secure", action="store_true", help="add the listeners with passwords and certificates")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="flows-kafka-") as folder:
        try:
            with Cluster(
                Path(folder), given.brokers, port=given.port, secure=given.secure, heap="1g", optimised=True
            ) as cluster:
                print(f"flows worker --broker {cluster.url}")
                for broker in cluster.brokers:
                    ports = ", ".join(f"{name} {port}" for name, port in broker.ports.items())
                    print(f"  broker {broker.node}: {ports}; process {broker.pid}; log {broker.log}")
                print("Ctrl-C ends it and removes its data", flush=True)
                signal.pause()
        except KeyboardInterrupt:
            pass
        except KafkaFailed as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
