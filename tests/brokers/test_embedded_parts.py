"""The broker's parts that can be looked at alone: turns, shares, batches, the registry of URLs."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.brokers import registry
from flows.brokers.base import Outgoing, TopicPartition
from flows.brokers.embedded import EmbeddedBroker, turn
from flows.brokers.embedded.batches import BATCH_BYTES, Piece, combine, decode, encode_append
from flows.brokers.embedded.share import share
from flows.brokers.embedded.turn import Turn
from flows.brokers.embedded.watch import Watch
from flows.errors import UsageError

TP = TopicPartition("t", 0)
members = st.lists(st.sampled_from("ABCDEF"), unique=True, min_size=1)
held = st.dictionaries(st.integers(0, 15).map("t{}".format), st.sampled_from("ABCDEFG"))


@given(members=members, held=held, count=st.integers(0, 16))
def test_shares_are_whole_balanced_and_move_only_what_must(members: list[str], held: dict[str, str], count: int):
    tasks = [f"t{n}" for n in range(count)]

    targets = share(tasks, members, held)

    sizes = {member: list(targets.values()).count(member) for member in members}
    assert sorted(targets) == sorted(tasks)
    assert set(targets.values()) <= set(members)
    assert max(sizes.values()) - min(sizes.values()) <= 1
    before = {member: sum(held.get(task) == member for task in tasks) for member in members}
    kept = sum(held.get(task) == target for task, target in targets.items())
    larger = count % len(members)
    most = sum(sorted((min(n, count // len(members)) for n in before.values()), reverse=True))
    most += min(larger, sum(n > count // len(members) for n in before.values()))
    assert kept == most
    assert share(reversed(tasks), members, targets) == targets


def test_a_turn_goes_to_the_one_that_waits_before_the_one_that_had_it(tmp_path: Path):
    greedy, other = Turn(tmp_path), Turn(tmp_path)
    turns, in_turn, stop = [0], Event(), Event()

    def take_turns_without_a_pause() -> None:
        while not stop.is_set():
            with greedy:
                turns[0] += 1
                in_turn.set()
                stop.wait(0.002)

    thread = Thread(target=take_turns_without_a_pause)
    thread.start()
    waited = []
    for _ in range(30):
        in_turn.clear()
        assert in_turn.wait(10)
        before = turns[0]
        with other:
            waited.append(turns[0] - before)
    stop.set()
    thread.join()
    greedy.close()
    other.close()
    assert max(waited) <= 2


def test_one_that_is_stuck_does_not_hold_up_the_others_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turn, "_PATIENCE", 0.02)
    stuck, other = Turn(tmp_path), Turn(tmp_path)
    with stuck:
        with other:
            assert not other._now.try_take()
        assert not other._now.try_take()
    with other:
        assert not stuck._now.try_take()
    stuck.close()
    other.close()


def test_large_appends_are_cut_into_batches_that_are_not_large():
    count = 5000
    out = Outgoing([b"key"] * count, [bytes(1000)] * count, list(range(count)))

    encoded = encode_append(TP, out, 1_000_000)

    assert sum(n for n, _ in encoded.parts) == count
    assert len(encoded.parts) == 6
    assert all(len(blob) <= BATCH_BYTES for _, blob in encoded.parts)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    holes=st.sets(st.integers(0, 25)),
    start=st.integers(0, 25),
)
def test_combined_batches_read_like_one(sizes: list[int], holes: set[int], start: int):
    pieces, expected, first = [], [], 0
    for size in sizes:
        deltas = [n for n in range(size) if first + n not in holes]
        out = Outgoing([None] * len(deltas), [b"%d" % (first + n) for n in deltas], [first + n for n in deltas])
        columns = decode(encode_append(TP, out, 100).parts[0][1])
        pieces.append(Piece(first, first + size, columns._replace(deltas=None if len(deltas) == size else deltas)))
        expected += [first + n for n in deltas if first + n >= start]
        first += size
    pieces = [piece for piece in pieces if piece.next > start]

    records = combine(TP, pieces, start, first)

    assert (list(records.offsets) if records else []) == expected
    assert (list(records.timestamps) if records else []) == expected
    assert records is None or list(records.values) == [b"%d" % n for n in expected]


def test_a_url_names_its_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    plain = registry.open_broker("embedded:///var/lib/my%20flows", lease=3.0)
    assert isinstance(plain, EmbeddedBroker)
    assert plain.folder == Path("/var/lib/my flows")
    default = registry.open_broker("embedded://")
    assert isinstance(default, EmbeddedBroker)
    assert default.folder == tmp_path / ".flows" / "broker"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("embeded:///x", r"unknown scheme 'embeded://'; known are .*embedded://.*; did you mean embedded://\?"),
        ("/var/lib/x", r"known are .*embedded://.*write for example embedded:///"),
        ("embedded://data/x", r"write embedded:///data/x, three slashes"),
    ],
)
def test_a_wrong_url_is_told_what_is_right(url: str, said: str):
    with pytest.raises(UsageError, match=said):
        registry.open_broker(url)


def test_another_room_can_add_its_scheme(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "_openers", dict(registry._openers))
    registry.register("memory", lambda url, **options: (url, options))  # type: ignore[arg-type,return-value]

    assert registry.open_broker("memory://x", clock=1) == ("memory://x", {"clock": 1})


async def test_a_watch_ends_though_the_last_reader_leaves_meanwhile() -> None:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    for _ in range(50):
        watch = Watch(connection)
        ticket = watch.enter({})
        closing = asyncio.create_task(asyncio.to_thread(watch.close))
        while not watch._closing:  # noqa: ASYNC110 - it is another thread's
            await asyncio.sleep(0)
        watch.leave(ticket)
        async with asyncio.timeout(30):
            await closing
    connection.close()
