"""Each example and each golden module, with made-up events: the same tables and outputs on embedded and on Kafka.

Nexmark's queries have its own events; tests/nexmark compares what they come to with SQL. The flights have a test of
their own, on real data: `tests/flights/test_flights_year.py`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib.util
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from dsl import App
from dsl.plan.graph import Plan
from dsl.plan.nodes import (
    AggregateNode,
    ChangesNode,
    SinkNode,
    SourceNode,
    TableJoinNode,
    TableNode,
    TopicNode,
    written_by,
)
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.brokers.registry import open_broker
from flows.cli.readers import offline_tables
from flows.cli.subject import Subject
from flows.compile.context import topic_encoders
from flows.compile.names import topic_specs
from flows.decode.codecs import Codecs
from flows.run.worker import Worker
from flows.settings import Settings, load_settings
from tests.codecs.registry_server import RegistryServer
from tests.contracts.broker_fixtures import read_all
from tests.kafka.cluster import Cluster
from tests.nexmark.house import events

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*/flow.py") if path.parent.name != "flights")
NEXMARK = [ROOT / "examples" / "03_nexmark" / f"{query}.py" for query in ("q3", "q4", "q5", "q7", "q8", "q11")]
"""Those with state; q12 counts by the clock, so that two runs differ."""
MODULES = [*EXAMPLES, *NEXMARK, *sorted((ROOT / "tests" / "plans" / "modules").glob("*.py"))]
EVENTS = 400
_WORDS = [f"{letter}{number}" for letter in "abcdef" for number in range(3)]
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}
_STEP = 401.0
"""Seconds between events: some windows of a day close."""

Found = dict[str, Any]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Cluster]:
    """A cluster of these modules' own, since their topics have the names that they have."""
    with Cluster(tmp_path_factory.mktemp("kafka-examples")) as cluster:
        yield cluster


@pytest.mark.kafka
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.parent.name if path.stem == "flow" else path.stem)
async def test_tables_and_outputs_are_the_same(
    path: Path, alone: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(path.parent)
    async with RegistryServer().serving() as registry:
        embedded = await _run(path, tmp_path / "embedded", "embedded", registry.url)
        kafka = await _run(path, tmp_path / "kafka", alone.url, registry.url)
    assert kafka == embedded
    assert any(embedded.values()), "the events reach nothing"


async def _run(path: Path, data: Path, broker: str, registry: str) -> Found:
    """Fill a module's inputs, drain them, and return its tables and what its agents and streams wrote."""
    app = _load(path)
    options = {"data": str(data), "broker": broker, "web_port": "-1", "drain": True, "idle_after": "1h"}
    settings = load_settings(app.id, {**options, "schema_registry_url": registry}, environ={})
    opened = open_broker(settings.broker_url)
    await opened.start()
    try:
        await _fill(opened, app.plan())
        await asyncio.wait_for(Worker(app, settings).run(), 120)
        return await _found(opened, app, settings)
    finally:
        for name in await opened.topics():
            await opened.delete_topic(name)
        await opened.delete_offsets(app.id)
        await opened.close()


def _load(path: Path) -> App:
    """Import a module anew: two runs share nothing."""
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: App = module.app
    return app


async def _found(broker: Broker, app: App, settings: Settings) -> Found:
    plan = app.plan()
    tables = offline_tables(Subject(plan, settings, app), broker, with_stores=False)
    names = [t.name for t in tables.list() if t.name not in _by_the_clock(plan)]
    # Two runs have classes of their own.
    found: Found = {f"table {name}": msgspec.to_builtins(await tables.rows(name, limit=1_000_000)) for name in names}
    for name in _written(plan):
        topic = next(t for t in plan.of_type(TopicNode) if t.name == name)
        records = [r for p in range(topic.partitions) for r in await read_all(broker, TopicPartition(name, p))]
        found[f"topic {name}"] = Counter(pair for r in records for pair in zip(r.keys, r.values, strict=True))
    return found


def _by_the_clock(plan: Plan) -> set[str]:
    """Return the tables that tell when they were computed: two runs differ."""
    windows = {n.table for n in plan.of_type(AggregateNode) if n.window is not None and n.window.time == "processing"}
    return windows | {n.table for n in plan.of_type(TableNode) if n.timer == "processing"}


def _written(plan: Plan, *, tables: bool = False) -> set[str]:
    """Return the topics to which agents and streams write; of a table's changes only the last of a key is promised.

    Those of sources are filled here: theirs yield nothing.
    """
    told = AggregateNode | TableJoinNode | ChangesNode
    of_tables = {n.id for n in plan.of_type(SinkNode) if isinstance(plan.nodes[n.input], told)}
    nodes = [n for n in plan.nodes.values() if not isinstance(n, SourceNode) and (tables or n.id not in of_tables)]
    return {topic for node in nodes for topic in written_by(node)}


async def _fill(broker: Broker, plan: Plan) -> None:
    """Write two days of events to the topics that are read and that nobody writes, recent ones: Kafka drops the old."""
    for spec in topic_specs(plan):
        await broker.create_topic(spec)
    encoders = topic_encoders(plan, Codecs(plan), broker.max_record_bytes, lambda: int(time.time() * 1000))
    written = _written(plan, tables=True)
    read = {name for part in plan.subtopologies for name in part.inputs}
    midnight = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=3)
    for topic in plan.of_type(TopicNode):
        if topic.name not in read - written:
            continue
        outputs: dict[TopicPartition, Outgoing] = {}
        nexmark = topic.name.startswith("nexmark-")
        make = _nexmark if nexmark else _made_up
        for value in make(topic, plan, midnight.timestamp()):
            encoded = value if isinstance(value, bytes) else None
            name, partition, key, data, when, _ = encoders.of(topic.name).encode(value if encoded is None else encoded)
            tp = TopicPartition(name, partition)
            outputs.setdefault(tp, Outgoing()).append(key, data, when)
        await broker.produce(outputs)


def _nexmark(topic: TopicNode, plan: Plan, begin: float) -> Iterable[Any]:
    """Return Nexmark's events of a topic, brought to our days."""
    later = begin - events()[0][1].at
    for name, event in events():
        if name == topic.name:
            times = {field: getattr(event, field) + later for field in ("at", "expires") if hasattr(event, field)}
            yield msgspec.structs.replace(event, **times)


def _made_up(topic: TopicNode, plan: Plan, begin: float) -> Iterable[Any]:
    make = _maker(plan.types[topic.id], random.Random(topic.name))
    for number in range(EVENTS):
        value = make()
        yield value if topic.timestamp is None else _timed(value, topic, begin + number * _STEP)


def _timed(value: Any, topic: TopicNode, at: float) -> Any:
    hint = get_type_hints(type(value))[topic.timestamp]
    if hint is dt.datetime:
        moment: Any = dt.datetime.fromtimestamp(at, dt.UTC)
    else:
        moment = hint(at * _UNITS[topic.unit])
    return type(value)(**{**{n: getattr(value, n) for n in value.__struct_fields__}, topic.timestamp: moment})


def _maker(kind: Any, chance: random.Random) -> Callable[[], Any]:
    """Return a function that makes values of a type; numbers are whole, so that no sum depends on its order."""
    numbers = itertools.count()
    if kind is dict:
        return lambda: {"number": next(numbers), "word": chance.choice(_WORDS)}
    made: dict[Any, Callable[[], Any]] = {
        int: lambda: chance.randint(-50, 150),
        float: lambda: float(chance.randint(-50, 1500)),
        str: lambda: chance.choice(_WORDS),
        bytes: lambda: chance.choice(_WORDS).encode(),
        bool: lambda: chance.random() < 0.5,
        dt.datetime: lambda: dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    }
    if kind in made:
        return made[kind]
    if get_origin(kind) is list:
        item = _maker(get_args(kind)[0], chance)
        return lambda: [item() for _ in range(chance.randrange(3))]
    if isinstance(kind, type):
        fields = {name: _maker(hint, chance) for name, hint in get_type_hints(kind).items()}
        return lambda: kind(**{name: make() for name, make in fields.items()})
    known = _maker(next(a for a in get_args(kind) if a is not type(None)), chance)
    return lambda: None if chance.random() < 0.2 else known()
