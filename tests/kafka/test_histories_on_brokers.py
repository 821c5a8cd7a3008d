"""Random histories through every kind of table on both brokers, with a worker that starts anew in the middle.

The naive oracles know what each table must show; tests/flows cuts the same histories in many more ways in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given

import flows
from dsl.plan.graph import late_topic_name
from flows.brokers.base import Broker, Outgoing, TopicPartition
from flows.brokers.registry import open_broker
from flows.cli.readers import offline_tables
from flows.cli.subject import Subject
from flows.compile.context import topic_encoders
from flows.compile.names import dead_letters, topic_specs
from flows.decode.codecs import Codecs
from flows.run.worker import Worker
from flows.settings import Settings, load_settings
from tests.contracts.broker_fixtures import read_all
from tests.drawn import drawn
from tests.flows import test_count_windows, test_session_histories, test_sliding_windows, test_table_histories
from tests.flows.histories import DECLARED, NAIVE, SECOND, Reading, group, histories, same
from tests.kafka.cluster import Cluster, unique
from tests.oracle.counted import CountOracle
from tests.oracle.sessions import SessionOracle
from tests.oracle.sliding import SlidingOracle
from tests.oracle.tables import Sent, TableOracle

_LATER = 1_700_000_000 // 86_400 * 86_400
"""Seconds that histories are moved by: Kafka drops what is as old as they are."""

Make = tuple[Any, Callable[[], Any]]
"""A window (None: the table has none), and what makes its oracle."""


def _tables() -> dict[str, Make]:
    """Return some shapes of each kind of window that tests/flows tries."""
    found: dict[str, Make] = {"whole": (None, lambda: TableOracle(["key"], None, NAIVE))}
    for kind, module, oracle, names in (
        ("aligned", test_table_histories, TableOracle, ("tumbling, grace", "hopping, uneven", "close, retention")),
        ("session", test_session_histories, SessionOracle, ("grace", "close, retention")),
        ("sliding", test_sliding_windows, SlidingOracle, ("close, retention",)),
    ):
        for name in names:
            window, naive = module.SHAPES[name]
            shape = module.in_microseconds(naive)
            found[f"{kind} {name}"] = window, lambda make=oracle, shape=shape: make(["key"], shape, NAIVE)
    window, counted = test_count_windows.SHAPES["three"]
    found["counted three"] = window, lambda: CountOracle(["key"], counted, NAIVE)
    return {name.replace(", ", " ").replace(" ", "-"): made for name, made in found.items()}


TABLES = _tables()


class Run:
    """One history on one broker, under names of its own."""

    def __init__(self, broker: str, data: Path) -> None:
        self.app = flows.App(unique("histories"), partitions=2)
        topic = self.app.topic(
            f"{self.app.id}-readings", value=Reading, key="key", timestamp="at", partitions=2, retention=None
        )
        for name, (window, _) in TABLES.items():
            grouped = topic.group_by("key") if window is None else topic.window(window)
            grouped.agg(**DECLARED).table(name)
        self.topic, self.url, self.data = topic.name, broker, data

    async def play(self, history: list[Sent]) -> None:
        """Process a history in two halves, each by a worker whose disk is empty, and compare all tables."""
        broker = open_broker(self._settings("none").broker_url)
        await broker.start()
        try:
            for spec in topic_specs(self.app.plan()):
                await broker.create_topic(spec)
            middle = len(history) // 2
            for number, half in enumerate((history[:middle], history[middle:])):
                await self._send(broker, half)
                await asyncio.wait_for(Worker(self.app, self._settings(f"worker-{number}")).run(), 120)
            await self._compare(broker, history)
        finally:
            for name in await broker.topics():
                if name.startswith(self.app.id):
                    await broker.delete_topic(name)
            await broker.close()

    def _settings(self, folder: str) -> Settings:
        # The embedded broker lives in the data folder, which stays; its stores do too.
        data = self.data if self.url == "embedded" else self.data / folder
        options = {"data": str(data), "broker": self.url, "web_port": "-1", "drain": True, "idle_after": "1h"}
        return load_settings(self.app.id, options, environ={})

    async def _send(self, broker: Broker, history: list[Sent]) -> None:
        plan = self.app.plan()
        encoder = topic_encoders(plan, Codecs(plan), broker.max_record_bytes, lambda: _LATER * 1000).of(self.topic)
        outputs: dict[TopicPartition, Outgoing] = {}
        for sent in history:
            _, _, key, value, when, _ = encoder.encode(Reading(**sent.fields))
            outputs.setdefault(TopicPartition(self.topic, sent.partition), Outgoing()).append(key, value, when)
        await broker.produce(outputs)

    async def _compare(self, broker: Broker, history: list[Sent]) -> None:
        plan = self.app.plan()
        tables = offline_tables(Subject(plan, self._settings("none"), self.app), broker, with_stores=False)
        refused = 0
        for name, (_, make) in TABLES.items():
            oracle = make()
            for sent in history:
                oracle.add(sent)
            expected = _shown(oracle)
            rows = {
                (*group(row, ["key"]), row.get("window_number")): row
                for row in await tables.rows(name, limit=1_000_000)
            }
            assert rows.keys() == expected.keys(), name
            for place, row in rows.items():
                for column, value in expected[place].items():
                    assert same(row[column], value), (name, place, column, row[column], value)
            late = await self._values(broker, late_topic_name(self.app.id, name))
            assert sorted(_of(value) for value in late) == sorted(map(_of, (r.fields for r in oracle.late))), name
            refused += len(oracle.refused)
        assert len(await self._values(broker, dead_letters(self.app.id))) == refused

    async def _values(self, broker: Broker, topic: str) -> list[Any]:
        spec = (await broker.topics()).get(topic)
        partitions = 0 if spec is None else spec.partitions
        records = [await read_all(broker, TopicPartition(topic, p)) for p in range(partitions)]
        return [msgspec.json.decode(v) for found in records for each in found for v in each.values if v is not None]


def _shown(oracle: TableOracle) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows that readers see, by key, window and, where windows count, their number."""
    if isinstance(oracle, CountOracle):
        return {(*where, number): results for (_, number), (where, results) in oracle.numbered().items()}
    return {(*where, None): results for where, results in oracle.rows().items()}


def _of(fields: dict[str, Any]) -> tuple[str, str, str]:
    return str(fields["key"]), str(fields["n"]), str(fields["at"])


def moved(history: list[Sent]) -> list[Sent]:
    """Bring a history to days of which Kafka keeps the records."""
    return [
        sent
        if sent.time is None
        else sent._replace(time=sent.time + _LATER * SECOND, fields={**sent.fields, "at": sent.fields["at"] + _LATER})
        for sent in history
    ]


@drawn(4)
@given(histories(2, most=60))
def test_tables_on_the_embedded_broker_are_those_of_the_oracle(
    tmp_path_factory: pytest.TempPathFactory, history: list[Sent]
) -> None:
    asyncio.run(Run("embedded", tmp_path_factory.mktemp("embedded")).play(moved(history)))


@drawn(3)
@given(histories(2, most=60))
def test_tables_on_kafka_are_those_of_the_oracle(
    kafka: Cluster, tmp_path_factory: pytest.TempPathFactory, history: list[Sent]
) -> None:
    asyncio.run(Run(kafka.url, tmp_path_factory.mktemp("kafka")).play(moved(history)))
