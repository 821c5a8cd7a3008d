"""Several processes on one folder: fair shares, kills, stops; nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from flows.brokers.base import TopicSpec
from flows.brokers.embedded import EmbeddedBroker
from tests.brokers.process import GROUP, A, B
from tests.contracts.broker_fixtures import read_all, values

LONG = 30.0
Start = Callable[..., Awaitable[Process]]
ROOT = Path(__file__).parents[2]
TASKS = ["t0", "t1", "t2", "t3"]


@asynccontextmanager
async def processes(folder: Path, lease: float = 1.0) -> AsyncIterator[Start]:
    """Start processes on a folder; those still there at the end are killed."""
    started: list[Process] = []

    async def start(what: str, *arguments: str) -> Process:
        command = ["-m", "tests.brokers.process", what, str(folder), str(lease), *arguments]
        process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@asynccontextmanager
async def opened(folder: Path, lease: float = 1.0) -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker(folder, lease=lease)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.close()


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(LONG):
        return (await process.stdout.readline()).decode().strip()


async def line_until(process: Process, wanted: str) -> None:
    while (said := await line(process)) != wanted:
        assert said, "the process ended"


def go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def test_many_processes_may_start_on_an_empty_folder_at_once(tmp_path: Path):
    async with processes(tmp_path / "new") as start:
        started = [await start("create") for _ in range(3)]
        assert [await line(process) for process in started] == ["created"] * 3


async def test_busy_processes_get_fair_shares_and_lose_nothing(tmp_path: Path):
    async with processes(tmp_path) as start, opened(tmp_path) as broker:
        await broker.create_topic(TopicSpec(name="log", partitions=2))
        started = [await start("hammer", f"p{n}", "1", "16", "200") for n in range(3)]
        for process in started:
            assert await line(process) == "ready"
        for process in started:
            go(process)
        counts = [int(await line(process)) for process in started]

        found = values(await read_all(broker, A))

    assert min(counts) > 20
    assert max(counts) < 3 * min(counts)
    assert len(found) == 200 * sum(counts)
    commits = list(dict.fromkeys(found))
    tasks = [[f"p{n}-{task}-".encode() for task in range(16)] for n in range(3)]
    for count, prefixes in zip(counts, tasks, strict=True):
        mine = [[value for value in commits if value and value.startswith(prefix)] for prefix in prefixes]
        assert sum(map(len, mine)) == count
        for prefix, values_ in zip(prefixes, mine, strict=True):
            assert values_ == [prefix + b"%d" % n for n in range(len(values_))]


async def test_a_writer_that_is_killed_again_and_again_leaves_whole_transactions(tmp_path: Path):
    acknowledged = 0
    async with processes(tmp_path) as start:
        async with opened(tmp_path) as broker:
            await broker.create_topic(TopicSpec(name="log", partitions=2))
        for commits in (1, 11, 60):
            process = await start("count")
            for _ in range(commits):
                acknowledged = int(await line(process))
            process.kill()
            await process.wait()

    async with opened(tmp_path) as broker:
        committed = (await broker.committed(GROUP, [A]))[A].offset
        expected = [b"%d" % n for n in range(committed)]
        assert committed >= acknowledged
        assert values(await read_all(broker, A)) == expected
        assert values(await read_all(broker, B)) == expected
    database = sqlite3.connect(tmp_path / "broker.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


async def test_a_killed_members_tasks_pass_on_when_its_lease_runs_out(tmp_path: Path):
    async with processes(tmp_path) as start, opened(tmp_path) as broker:
        other = await start("member", "other", *TASKS)
        await line_until(other, " ".join(TASKS))
        membership = await broker.join(GROUP, "me", dict.fromkeys(TASKS, ()))
        async with asyncio.timeout(LONG):
            while len(await membership.assignment()) < 2:
                pass
        other.kill()

        async with asyncio.timeout(LONG):
            assert await membership.assignment() == frozenset(TASKS)
        assert [member.id for member in await membership.members()] == ["me"]


async def test_a_stopped_member_loses_its_tasks_and_is_told_when_it_goes_on(tmp_path: Path):
    async with processes(tmp_path) as start, opened(tmp_path) as broker:
        other = await start("member", "other", *TASKS)
        await line_until(other, " ".join(TASKS))
        os.kill(other.pid, signal.SIGSTOP)
        membership = await broker.join(GROUP, "me", dict.fromkeys(TASKS, ()))

        async with asyncio.timeout(LONG):
            while await membership.assignment() != frozenset(TASKS):
                pass
        os.kill(other.pid, signal.SIGCONT)

        said = await line(other)
        while not said.startswith("fenced: member 'other' has lost its place"):
            assert said, "the process ended without a word"
            said = await line(other)


async def test_a_waiting_reader_sees_the_records_of_another_process(tmp_path: Path):
    async with processes(tmp_path) as start, opened(tmp_path) as broker:
        await broker.create_topic(TopicSpec(name="log", partitions=2))
        reader = broker.reader({A: 0})
        waiting = asyncio.ensure_future(reader.fetch(10, LONG))
        await start("count")

        found = await waiting
        assert values(found)[0] == b"0"
