"""A changelog longer than a write of a restore: it is shown as it goes, goes on after crashes, and ends exact."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from flows.brokers.base import Broker
from flows.run.progress import RestoreProgress
from flows.run.stores import Stores
from flows.state.restore import restore
from tests.benchmarks.restoring import fill
from tests.kafka.cluster import unique

RECORDS = 500_000


class Crash(Exception):
    """The end of a process, as far as the restore can tell."""


async def test_a_large_changelog_shows_its_progress_and_comes_back_exactly(broker: Broker, tmp_path: Path) -> None:
    """Four changelogs into the tables of one store, with a crash after the second write and after the fourth."""
    wanted = await fill(broker, unique("large-changelog"), RECORDS, RECORDS)
    tables = {f"t{tp.partition}": tp for tp in wanted}
    stores = Stores(tmp_path, 64 << 20, 16 << 20)
    totals = []
    for writes in (3, 3, None):
        progress, told = RestoreProgress(lambda *_: None, "task"), list[float]()
        left = itertools.count(1)

        def probe(
            step: str,
            writes: int | None = writes,
            left: Iterator[int] = left,
            progress: RestoreProgress = progress,
            told: list[float] = told,
        ) -> None:
            told.append(progress.share)
            if step == "restore 4" and next(left) == writes:
                raise Crash

        store = stores.open("task")
        try:
            with nullcontext() if writes is None else pytest.raises(Crash):
                await restore(store, broker, tables, progress, probe=probe)
            if writes is None:
                assert {tp: dict(store.scan(table)) for table, tp in tables.items()} == wanted
                ends = await broker.end_offsets(wanted)
                assert store.positions() == {table: ends[tp] for table, tp in tables.items()}
        finally:
            store.close()
        totals.append(progress.total)
        assert told == sorted(told)
        assert len(set(told)) > 3 or len(totals) > 1  # little is left for the last
        assert progress.rate > 0
    assert progress.share == 1.0
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == len(totals), "a restore that crashed began anew"
