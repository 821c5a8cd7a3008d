"""`make bench`: W1 on the embedded broker, exactly-once; events a second and where the time went.

ARGS=--nexmark runs the queries of examples/03_nexmark, --joins joins of two inputs. --kafka runs W1 on a real Kafka
broker, --peers does so against Faust, Quix Streams, Bytewax and Kafka Streams, --latency measures the time from a
record to what came of it, --restore how fast changelogs come back, --gateway what 5,000 connections bring in, and that
kills lose and double nothing, --lookups how many keys a second a worker looks up over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import flows
from flows.run.worker import Worker
from tests.benchmarks import apps, gateway, joins, kafka, latency, lookups, nexmark, restoring
from tests.benchmarks.draining import drain
from tests.benchmarks.workload import EVENTS, fill

Fill = Callable[[Path, int], Awaitable[None]]

RUNS: dict[str, Callable[[], flows.App]] = {"declared": apps.declared, "agent": apps.agent}


async def measure(name: str, app: flows.App, count: int, fill: Fill = fill) -> dict[str, Any]:
    """Fill a broker, let a worker drain it and return the figures; the time is from the first record to the last."""
    with tempfile.TemporaryDirectory(prefix="flows-bench-") as folder:
        data = Path(folder)
        await fill(data / "broker", count)
        drained = await drain(app, data)
        records = drained.worker.metrics.records
        assert records == count, f"{records} of {count} events"
        return _figures(name, count, drained.seconds, drained.cpu, drained.worker)


def _figures(name: str, count: int, seconds: float, cpu: float, worker: Worker) -> dict[str, Any]:
    spent = worker.metrics.seconds()
    total = math.fsum(spent.values())
    return {
        "workload": name,
        "broker": "embedded",
        "guarantee": "exactly_once",
        "events": count,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "events_per_second": round(count / seconds),
        "events_per_cpu_second": round(count / cpu),
        "commits": sum(t.commits for t in worker.metrics.tasks().values()),
        "longest_loop_delay_ms": round(worker.board.longest_delay * 1000, 1),
        "stages": {stage: round(share / total, 3) for stage, share in spent.items() if share},
    }


def _embedded(names: list[str], events: int, runs: int) -> list[dict[str, Any]]:
    return [_told(measure(f"W1 {name}", RUNS[name](), events)) for name in names for _ in range(runs)]


def _joins(names: list[str], events: int, runs: int) -> list[dict[str, Any]]:
    apps = (joins.RUNS[name] for name in names for _ in range(runs))
    return [_told(measure(app.__name__, app(), events, joins.fill), "records") for app in apps]


def _told(measuring: Coroutine[Any, Any, dict[str, Any]], what: str = "events") -> dict[str, Any]:
    figures = asyncio.run(measuring)
    stages = ", ".join(f"{s} {share:.0%}" for s, share in figures["stages"].items())
    print(f"{figures['workload']:18} {figures['events_per_second']:>9,} {what}/s   {stages}", flush=True)
    print(
        f"{'':18} {figures['commits']} commits, longest loop delay {figures['longest_loop_delay_ms']} ms, "
        f"{figures['cpu_seconds']} s of CPU, {figures['events_per_cpu_second']:,} {what} per CPU second"
    )
    return figures


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--runs", type=int, default=2)
    names = ", ".join([*RUNS, *joins.RUNS, *kafka.NAMES, *nexmark.QUERIES])
    parser.add_argument("--only", metavar="NAME", action="append", help=f"{names}; repeated")
    parser.add_argument("--json", type=Path, metavar="FILE")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--nexmark", action="store_true", help="the queries of Nexmark, each by itself")
    where.add_argument("--kafka", action="store_true", help="W1 on a Kafka broker")
    where.add_argument("--peers", action="store_true", help="W1 on a Kafka broker, against its peers")
    where.add_argument("--latency", action="store_true", help="5,000 events/s through a Kafka broker")
    where.add_argument("--restore", action="store_true", help="a million changelog records from a Kafka broker")
    where.add_argument("--gateway", action="store_true", help="thousands of connections, and kills")
    where.add_argument("--joins", action="store_true", help="joins of two inputs on the embedded broker")
    where.add_argument("--lookups", action="store_true", help="point look-ups by key over HTTP")
    parser.add_argument("--seconds", type=float, default=60.0, help="of one run of --latency, or phase of --gateway")
    parser.add_argument("--connections", type=int, default=gateway.CONNECTIONS, help="of --gateway")
    given = parser.parse_args()
    if given.latency:
        found = latency.run(given.runs, given.seconds)
    elif given.gateway:
        found = gateway.run(given.connections, given.seconds)
    elif given.lookups:
        found = lookups.run(min(given.seconds, lookups.SECONDS))
    elif given.nexmark:
        found = nexmark.run(given.only or nexmark.QUERIES, given.events)
    elif given.restore:
        found = restoring.run(given.events, given.runs)
    elif given.joins:
        found = _joins(given.only or list(joins.RUNS), given.events, given.runs)
    elif given.kafka or given.peers:
        among = kafka.PEERS + kafka.OURS if given.peers else kafka.OURS
        chosen = [contestant for contestant in among if not given.only or contestant.name in given.only]
        found = kafka.run(chosen, given.events, given.runs)
        print("\n".join(kafka.ratios(found)))
    else:
        found = _embedded(given.only or list(RUNS), given.events, given.runs)
    if given.json:
        machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
        given.json.write_text(json.dumps({"machine": machine, "runs": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
