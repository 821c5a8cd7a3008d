"""Whether all is there, once: topics and changelogs by plain read_committed consumers, tables by `flows query`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from dsl.plan.graph import late_topic_name
from flows.compile.names import changelog, dead_letters
from flows.compile.tables import table_decoders
from flows.query.offline import RESERVED
from tests.kafka.chaos.events import numbers_of
from tests.kafka.chaos.flow import FLOW_ID, Done, Event, app, done, events
from tests.kafka.chaos.workers import FLOW, Failed, environment

WINDOW = 10.0
Table = dict[Any, tuple[Any, ...]]
_SHOWN = 10


class Wanted(msgspec.Struct):
    """What the tables and outputs must hold."""

    order: dict[str, list[int]]
    tables: dict[str, Table]
    may_double: bool = False
    doubled: int = 0


async def check_topics(bootstrap: str, *, may_double: bool = False) -> Wanted:
    """Compare the input with its keys, the outputs and the changelogs with the input; return what must be there.

    With `may_double`, what an at-least-once worker may do: each number comes out and counts once or more, none that was
    not sent does, and what comes again may be late. Raises `Failed` with the keys that differ.
    """
    wanted = await _wanted(bootstrap)
    wanted.may_double = may_double
    made: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, output in await _records(bootstrap, done.name, Done):
        made[output.range].append((output.nth, output.number))
    if may_double:
        found = {key: tuple(sorted({number for _, number in outputs})) for key, outputs in made.items()}
        _compare("outputs", found, {key: tuple(sorted(numbers)) for key, numbers in wanted.order.items()})
        wanted.doubled = sum(map(len, made.values())) - sum(map(len, found.values()))
    else:
        in_order = {key: tuple(enumerate(numbers, 1)) for key, numbers in wanted.order.items()}
        _compare("outputs", {k: tuple(v) for k, v in made.items()}, in_order)
    for name, decoder in table_decoders(app.plan()).items():
        rows = []
        for entries in (await _changelog(bootstrap, changelog(FLOW_ID, name))).values():
            rows += decoder.rows(list(decoder.visible(sorted(entries.items()))))
        _compare_rows(f"changelog of {name}", name, rows, wanted)
    for name in (dead_letters(FLOW_ID), *(() if may_double else (late_topic_name(FLOW_ID, "by_lane"),))):
        refused = await _read(bootstrap, name)
        if refused:
            raise Failed(f"{len(refused)} records in {name}, the first is {refused[0][2]!r}")
    return wanted


def check_tables(url: str, data: Path, wanted: Wanted) -> None:
    """Compare what `flows query` tells with what must be there; raises `Failed`."""
    for name in wanted.tables:
        command = [sys.executable, "-m", "flows", "query", "-A", str(FLOW), "--broker", url, "--data", str(data)]
        asked = subprocess.run(
            [*command, f"SELECT * FROM {name}", "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env=environment(),
        )
        if asked.returncode:
            raise Failed(f"flows query ended with {asked.returncode}: {asked.stderr}")
        _compare_rows(f"flows query of {name}", name, json.loads(asked.stdout), wanted)


async def _wanted(bootstrap: str) -> Wanted:
    order: dict[str, list[int]] = defaultdict(list)
    lanes: dict[tuple[str, float], list[int]] = defaultdict(list)
    for _, event in await _records(bootstrap, events.name, Event):
        order[event.range].append(event.number)
        lanes[event.lane, event.at // WINDOW * WINDOW].append(event.number)
    promised = {key: tuple(numbers_of(key)) for key in order}
    _compare("input (the feed's fault)", {k: tuple(sorted(v)) for k, v in order.items()}, promised)
    return Wanted(
        order,
        {
            # Of the keys alone: lo to hi, each once.
            "by_range": {k: (len(v), sum(v), v[0], v[-1]) for k, v in promised.items()},
            "by_lane": {k: (len(v), sum(v), min(v), max(v)) for k, v in lanes.items()},
            "seen": {k: (len(v), sum(v)) for k, v in promised.items()},
        },
    )


def _compare_rows(what: str, table: str, rows: list[dict[str, Any]], wanted: Wanted) -> None:
    found: Table = {}
    for row in rows:
        if table == "seen":
            key, value = row["key"], tuple(row["value"])
        else:
            key = row["range"] if table == "by_range" else (row["lane"], float(row["window_start"]))
            value = tuple(row[n] for n in ("events", "total", "least", "most"))
        if key in found:
            raise Failed(f"{what}: {key!r} is there twice: {found[key]} and {value}")
        found[key] = value
    expected = wanted.tables[table]
    _compare(what, _undoubled(found, expected) if wanted.may_double else found, expected)


def _undoubled(found: Table, wanted: Table) -> Table:
    """Take counts and sums that are larger than they must be, as of records that came again, for those that must be."""
    return {key: (*map(min, value[:2], wanted.get(key, value)[:2]), *value[2:]) for key, value in found.items()}


def _compare(what: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    wrong = sorted((k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k)), key=str)
    if wrong:
        lines = [f"  {k!r}: {_difference(found.get(k), wanted.get(k))}" for k in wrong[:_SHOWN]]
        raise Failed("\n".join([f"{what}: {len(wrong)} of {len(wanted)} keys differ", *lines]))


def _difference(found: Any, wanted: Any) -> str:
    """Tell two values apart; of long ones where they part."""
    if found is None or wanted is None or len(wanted) < _SHOWN:
        return f"{found}, expected {wanted}"
    place = next((n for n, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), len(wanted))
    part = slice(max(place - 2, 0), place + 4)
    return f"{len(found)} for {len(wanted)}; from the {place + 1}. on {found[part]}, expected {wanted[part]}"


async def _records(bootstrap: str, topic: str, kind: Any) -> list[tuple[int, Any]]:
    decode = msgspec.json.Decoder(kind).decode
    return [(partition, decode(value)) for partition, _, value in await _read(bootstrap, topic)]


async def _changelog(bootstrap: str, topic: str) -> dict[int, dict[bytes, bytes]]:
    """Return the last value of each key, by partition."""
    found: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    for partition, key, value in await _read(bootstrap, topic):
        if not key.startswith(RESERVED):
            if value is None:
                found[partition].pop(key, None)
            else:
                found[partition][key] = value
    return found


async def _read(bootstrap: str, topic: str) -> list[tuple[int, Any, Any]]:
    """Read the committed records of a topic, each partition in its order."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        tps = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        found = []
        for tp in tps:
            while await consumer.position(tp) < ends[tp]:
                records = (await consumer.getmany(tp, timeout_ms=500)).get(tp, [])
                found += [(tp.partition, r.key, r.value) for r in records]
        return found
    finally:
        await consumer.stop()
