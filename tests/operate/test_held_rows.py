"""What joins hold in memory is what is stored, however little of it may be held there."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.operate.joins.sides import JoinRows
from flows.operate.joins.versioned_rows import VersionedRows
from flows.state.memory import MemoryStore
from flows.state.task_state import TaskState
from tests.drawn import drawn

TABLES = ("left", "right", "ends")


def state_of(*tables: str) -> TaskState:
    store = MemoryStore()
    for table in tables:
        store.create_table(table)
    return TaskState(store)


def decoded(data: bytes) -> tuple[Any, ...]:
    return (data,)


def join_rows(state: TaskState, most: int) -> JoinRows:
    rows = JoinRows(TABLES, state, (decoded, decoded), most)
    rows.begin()
    return rows


_OPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 1), st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 12)),
        st.tuples(st.just("match"), st.integers(0, 1), st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 12)),
        st.tuples(st.just("end"), st.integers(0, 30)),
        st.tuples(st.just("settle")),
        st.tuples(st.just("anew")),
    ),
    max_size=60,
)


@drawn(100)
@given(_OPS, st.integers(1, 4))
def test_a_join_that_holds_little_knows_as_much(ops: list[Any], most: int) -> None:
    states = [state_of(*TABLES) for _ in range(2)]
    both = [join_rows(state, size) for state, size in zip(states, (most, 1_000), strict=True)]
    reached = 0
    for number, (what, *args) in enumerate(ops):
        found: list[Any] = []
        for place, rows in enumerate(both):
            if what == "put":
                side, group, time = args
                rows.put(side, group, time, (0, number % 3), (number,), max(reached, time + 5), waits=True)
            elif what == "match":
                side, group, time = args
                kept = rows.within(side, group, time - 3, time)
                found.append([(k.key, k.time, k.waits) for k in kept])
                for k in kept[:1]:
                    rows.matched(side, k)
            elif what == "end":
                found.append([(end, side, k.key, k.waits) for end, side, k in rows.ended(args[0])])
                found.append((rows.earliest_end(args[0] + 4), rows.are_some()))
            else:
                rows.settle()
                if what == "anew":
                    both[place] = join_rows(states[place], most if place == 0 else 1_000)
        reached = max(reached, args[0]) if what == "end" else reached
        assert found[: len(found) // 2] == found[len(found) // 2 :]
    for rows in both:
        rows.settle()
    for table in TABLES:
        first, second = (list(state.scan(table, uncommitted=True)) for state in states)
        assert first == second


def test_keys_of_which_nothing_is_kept_are_forgotten_too() -> None:
    rows = join_rows(state_of(*TABLES), 10)
    for n in range(20):  # more than is held: from now on each key is looked for in the store
        rows.put(0, b"%d" % n, n, (0, n), (n,), 100, waits=True)
    versions = VersionedRows("versions", state_of("versions"), 10)
    for n in range(200):
        rows.settle()
        assert rows.within(1, b"other %d" % n, 0, 100) == []
        versions.begin(1)
        assert versions.at(b"other %d" % n, None, 0) is None
    assert max(map(len, (*rows._groups, versions._held))) <= 11


_VERSIONS = st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 9), st.booleans()), max_size=30)


@drawn(100)
@given(_VERSIONS, st.integers(1, 4), st.integers(1, 5))
def test_versions_that_are_not_held_are_read_again(came: list[Any], most: int, length: int) -> None:
    states = [state_of("versions") for _ in range(2)]
    both = [VersionedRows("versions", state, size) for state, size in zip(states, (most, 1_000), strict=True)]
    for start in range(0, len(came), length):
        found: list[Any] = []
        for versions in both:
            few = came[start : start + length]
            versions.begin(len(few))
            rows = [
                (key, time, (0, start + turn), None if gone else b"%d" % (start + turn), 0, turn)
                for turn, (key, time, gone) in enumerate(few)
            ]
            versions.put(rows)
            versions.forget({key: start // 6 for key, *_ in rows})
            found.append(
                [
                    versions.at(key, time, turn)
                    for key in (b"a", b"b")
                    for time in (None, *range(start // 6, 10))
                    for turn in range(length)
                ]
            )
        assert found[0] == found[1]
    first, second = (list(state.scan("versions", uncommitted=True)) for state in states)
    assert first == second
