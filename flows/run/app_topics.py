"""The topics of an app as the web server tells of them: those that it declares and those that it keeps for itself."""

from __future__ import annotations

import asyncio
import base64
import builtins
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing

from dsl.plan.graph import Plan, late_topic_name
from dsl.plan.nodes import TopicNode
from flows.brokers.base import Broker, Records, TopicPartition, TopicSpec
from flows.clock import Clock
from flows.compile.names import dead_letters, reply_topic, topic_specs
from flows.decode.codecs import Codecs
from flows.errors import FlowsError, OffsetOutOfRange
from flows.run.dead_letters import DeadLetters
from flows.run.reading import Positions, first_record, offsets_at, read_records
from flows.run.redrive import Redriver, redriven_topic
from flows.run.showing import cut, shown, text_of, value_of
from flows.web.gateway.gateway import keys_topic
from flows.web.topics import (
    Filter,
    From,
    LetterFilter,
    LettersFound,
    PartitionOffsets,
    RecordsFound,
    Redriven,
    TopicAbout,
    TopicFeed,
    TopicRecord,
    WholeRecord,
)

_SCAN = 20_000
"""Records that one question looks at; who wants more goes on from where that ended."""

_AT_A_TIME = 500
"""Records of a partition that a visitor who follows gets at a time."""

_AT_ONCE = 4
"""Questions that read at the same time; the others wait."""


class AppTopics:
    """Implements `Topics`."""

    def __init__(self, plan: Plan, broker: Broker, codecs: Codecs, clock: Clock) -> None:
        self._plan, self._broker, self._codecs = plan, broker, codecs
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._letters = DeadLetters(plan, broker, codecs, Redriver(plan, broker, clock))

    async def list(self) -> builtins.list[TopicAbout]:
        topics = await self._known()
        tps = [TopicPartition(spec.name, p) for spec in topics.values() for p in range(spec.partitions)]
        starts, ends = await self._broker.start_offsets(tps), await self._broker.end_offsets(tps)
        return [self._about(spec, starts, ends) for _, spec in sorted(topics.items())]

    async def read(self, topic: str, start: From, wanted: Filter, limit: int) -> RecordsFound:
        async with self._turn:
            starts, ends = await self._bounds(topic, start.partition)
            if start.place == "newest" and start.time is None and start.positions is None:
                return await self._newest(topic, starts, ends, wanted, limit)
            begins, skipped = await self._begins(topic, start, starts, ends)
            return await self._onward(topic, begins, ends, wanted, limit, skipped)

    async def follow(self, topic: str, start: From, wanted: Filter) -> TopicFeed:
        starts, ends = await self._bounds(topic, start.partition)
        if start.place == "newest" and start.time is None and start.positions is None:
            return Follower(self._broker, ends, 0, lambda batch: self._matching(batch, wanted))
        begins, skipped = await self._begins(topic, start, starts, ends)
        return Follower(self._broker, begins, skipped, lambda batch: self._matching(batch, wanted))

    async def record(self, topic: str, partition: int, offset: int) -> WholeRecord | None:
        starts, ends = await self._bounds(topic)
        tp = TopicPartition(topic, partition)
        if tp not in starts:
            return None
        if not starts[tp] <= offset < ends[tp]:
            return None
        found = await first_record(self._broker, tp, offset, offset + 1)
        if found is None:
            return None
        (record,) = records_of(await shown(found, self._plan, self._codecs), whole=True)
        assert record is not None
        return WholeRecord(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp=record.timestamp,
            key=record.key,
            value=record.value,
            headers=record.headers,
            size=len(found.keys[0] or b"") + len(found.values[0] or b""),
            raw_key=_base64(found.keys[0]),
            raw_value=_base64(found.values[0]),
        )

    async def letters(self, wanted: LetterFilter, before: int | None, limit: int) -> LettersFound:
        async with self._turn:
            return await self._letters.newest(wanted, before, limit)

    async def redrive(self, offsets: builtins.list[int]) -> Redriven:
        return await self._letters.redrive(offsets)

    async def redrive_all(self, wanted: LetterFilter, until: int) -> Redriven:
        return await self._letters.redrive_all(wanted, until)

    async def _known(self) -> dict[str, TopicSpec]:
        """Return the topics of the app that are there: others at the broker are nobody's business here."""
        app = self._plan.app
        names = {spec.name for spec in topic_specs(self._plan)}
        names |= {reply_topic(app), keys_topic(app), redriven_topic(app)}
        return {name: spec for name, spec in (await self._broker.topics()).items() if name in names}

    async def _bounds(self, topic: str, partition: int | None = None) -> tuple[Positions, Positions]:
        spec = (await self._known())[topic]
        tps = [TopicPartition(topic, p) for p in range(spec.partitions)]
        if partition is not None:
            if partition >= len(tps):
                raise FlowsError(f"topic {topic!r} has no partition {partition}", fix=f"it has 0 to {len(tps) - 1}")
            tps = [tps[partition]]
        return await self._broker.start_offsets(tps), await self._broker.end_offsets(tps)

    async def _begins(self, topic: str, start: From, starts: Positions, ends: Positions) -> tuple[Positions, int]:
        """Return where to begin, and how many of the asked offsets are gone."""
        if start.positions is None:
            if start.time is None:
                return starts, 0
            return await offsets_at(self._broker, starts, ends, round(start.time * 1000)), 0
        asked = {TopicPartition(topic, p): offset for p, offset in start.positions.items()}
        unknown = sorted(tp.partition for tp in asked if tp not in starts)
        if unknown:
            raise FlowsError(f"topic {topic!r} has no partition {unknown[0]}", fix=f"it has 0 to {len(starts) - 1}")
        skipped = sum(max(0, starts[tp] - offset) for tp, offset in asked.items())
        return {tp: min(max(offset, starts[tp]), ends[tp]) for tp, offset in asked.items()}, skipped

    async def _onward(
        self, topic: str, begins: Positions, ends: Positions, wanted: Filter, limit: int, skipped: int
    ) -> RecordsFound:
        """Read on until there are enough records, or enough were looked at."""
        ends = {tp: ends[tp] for tp in begins}
        found: builtins.list[TopicRecord] = []
        reached, scanned = dict(begins), 0
        async with aclosing(read_records(self._broker, begins, ends, _SCAN)) as batches:
            async for batch in batches:
                matches = await self._matching(batch, wanted)
                enough = limit - len(found)
                found += (record for _, record in matches[:enough])
                if len(matches) >= enough:
                    # The last record that is told is the last one that counts as looked at.
                    last = matches[enough - 1][0]
                    scanned += last + 1
                    reached[batch.tp] = batch.offsets[last] + 1
                    break
                scanned += len(batch)
                reached[batch.tp] = batch.next_offset
            else:
                reached = reached if scanned >= _SCAN else ends
        return _found(topic, found, scanned, reached, ends, skipped)

    async def _newest(self, topic: str, starts: Positions, ends: Positions, wanted: Filter, limit: int) -> RecordsFound:
        """Look at the last records of each partition, further back while there are too few: offsets have gaps."""
        most = max(1, _SCAN // len(starts))
        back = min(limit, most)
        while True:
            begins = {tp: max(starts[tp], ends[tp] - back) for tp in starts}
            found: builtins.list[TopicRecord] = []
            scanned = 0
            async with aclosing(read_records(self._broker, begins, ends, None)) as batches:
                async for batch in batches:
                    found += (record for _, record in await self._matching(batch, wanted))
                    scanned += len(batch)
            if len(found) >= limit or back == most or begins == starts:
                newest = sorted(found, key=_in_time)[-limit:]
                return _found(topic, newest, scanned, ends, ends, 0)
            back = min(4 * back, most)

    async def _matching(self, batch: Records, wanted: Filter) -> builtins.list[tuple[int, TopicRecord]]:
        """Return the wanted records of a batch with their places in it."""
        await asyncio.sleep(0)  # others have their turn between two batches
        records = records_of(await shown(batch, self._plan, self._codecs), wanted=wanted)
        return [(place, record) for place, record in enumerate(records) if record is not None]

    def _about(self, spec: TopicSpec, starts: Positions, ends: Positions) -> TopicAbout:
        node = self._plan.topic(spec.name)
        tps = [TopicPartition(spec.name, p) for p in range(spec.partitions)]
        return TopicAbout(
            name=spec.name,
            kind=self._kind(spec.name, node),
            partitions=tuple(PartitionOffsets(partition=t.partition, start=starts[t], end=ends[t]) for t in tps),
            records=sum(ends[t] - starts[t] for t in tps),
            cleanup=spec.cleanup,
            retention=spec.retention,
            value=None if node is None else node.value,
            codec=None if node is None else node.codec,
            key=None if node is None else node.key,
            timestamp=None if node is None else node.timestamp,
        )

    def _kind(self, name: str, node: TopicNode | None) -> str:
        if name == dead_letters(self._plan.app):
            return "dead-letters"
        if any(name == late_topic_name(self._plan.app, step) for step in self._plan.nodes):
            return "late"
        return "declared" if node is not None and not node.internal else "internal"


class Follower:
    """Implements `TopicFeed`; `matching` returns the wanted records of a batch with their places."""

    def __init__(
        self,
        broker: Broker,
        positions: Positions,
        skipped: int,
        matching: Callable[[Records], Awaitable[builtins.list[tuple[int, TopicRecord]]]],
    ) -> None:
        self._broker, self._matching = broker, matching
        self._positions = dict(positions)
        self.positions, self.skipped = positions_text(positions), skipped
        self._reader = broker.reader(positions)

    async def take(self, patience: float) -> builtins.list[TopicRecord]:
        try:
            batches = await self._reader.fetch(_AT_A_TIME, patience)
        except OffsetOutOfRange:
            await self._skip()
            return []
        found: builtins.list[TopicRecord] = []
        for batch in batches:
            found += (record for _, record in await self._matching(batch))
        # Only now: who is cut off before gets them again.
        self._positions = {tp: self._reader.position(tp) for tp in self._positions}
        self.positions = positions_text(self._positions)
        return sorted(found, key=_in_time)

    async def close(self) -> None:
        await self._reader.close()

    async def _skip(self) -> None:
        """Go on with the oldest records that are there: the next ones were dropped before they were read."""
        await self._reader.close()
        starts = await self._broker.start_offsets(self._positions)
        self.skipped += sum(max(0, starts[tp] - offset) for tp, offset in self._positions.items())
        self._positions = {tp: max(offset, starts[tp]) for tp, offset in self._positions.items()}
        self.positions = positions_text(self._positions)
        self._reader = self._broker.reader(self._positions)


def records_of(records: Records, *, wanted: Filter | None = None, whole: bool = False) -> Iterator[TopicRecord | None]:
    """Yield records as people read them, None in place of one that is not wanted."""
    headers = records.headers or [()] * len(records)
    rows = zip(records.offsets, records.timestamps, records.keys, records.values, headers, strict=True)
    for offset, time, key_bytes, value_bytes, own in rows:
        key, value = text_of(key_bytes), text_of(value_bytes)
        told = tuple((name, text_of(content)) for name, content in own)
        if wanted is not None and not _is_wanted(wanted, key, value, told):
            yield None
            continue
        short = value if whole else cut(value)
        yield TopicRecord(
            partition=records.tp.partition,
            offset=offset,
            timestamp=time / 1000,
            key=key if whole else cut(key),
            value=value_of(value) if short == value else short,
            headers=told if whole else tuple((name, cut(content)) for name, content in told),
            size=len(key_bytes or b"") + len(value_bytes or b""),
            cut=short != value,
        )


def _is_wanted(wanted: Filter, key: str | None, value: str | None, headers: tuple[tuple[str, str | None], ...]) -> bool:
    return (
        (wanted.key is None or wanted.key in (key or ""))
        and (wanted.value is None or wanted.value in (value or ""))
        and (wanted.header is None or any(wanted.header in f"{name}: {content}" for name, content in headers))
    )


def _found(
    topic: str, records: builtins.list[TopicRecord], scanned: int, reached: Positions, ends: Positions, skipped: int
) -> RecordsFound:
    return RecordsFound(
        topic=topic,
        records=sorted(records, key=_in_time),
        scanned=scanned,
        next=positions_text(reached),
        ended=all(reached[tp] >= end for tp, end in ends.items()),
        skipped=skipped,
    )


def positions_text(positions: Positions) -> str:
    """Return positions as a visitor gives them back: `0:12,1:40`."""
    return ",".join(f"{tp.partition}:{offset}" for tp, offset in sorted(positions.items()))


def _in_time(record: TopicRecord) -> tuple[float, int, int]:
    return record.timestamp, record.partition, record.offset


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
