"""The assignor on random groups: even, sticky, near to the state, and the same whoever computes it."""

from __future__ import annotations

from collections import Counter
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from flows.brokers.kafka.assignor import Candidate, Placement, part_of, place
from flows.brokers.kafka.assignor_quotas import quotas

PARTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 7), max_size=4)
LAGS = st.sampled_from([0, 5, 20_000, 300_000])


def tasks_of(parts: dict[str, int]) -> list[str]:
    return [f"{part}/{n}" for part, count in parts.items() for n in range(count)]


@st.composite
def groups(draw: st.DrawFn, *, lags: bool = True) -> tuple[list[str], list[Candidate]]:
    """Tasks and members, some of which own tasks, and keep the state of some."""
    tasks = tasks_of(draw(PARTS))
    count = draw(st.integers(1, 6))
    owners = [draw(st.integers(-1, count - 1)) for _ in tasks]
    members = []
    for n in range(count):
        owned = frozenset(task for task, owner in zip(tasks, owners, strict=True) if owner == n)
        kept = draw(st.dictionaries(st.sampled_from(tasks), LAGS)) if lags and tasks else {}
        members.append(Candidate(id=f"m{n}", owned=owned, lags={**kept, **(dict.fromkeys(owned, 0) if lags else {})}))
    return tasks, members


def counts(members: list[Candidate], holders: dict[str, str], part: str | None = None) -> list[int]:
    found = Counter(holder for task, holder in holders.items() if part in (None, part_of(task)))
    return [found[member.id] for member in members]


def spread(found: list[int]) -> int:
    return max(found) - min(found)


@given(groups(lags=False))
def test_tasks_without_state_are_even_in_each_part_and_overall(group: tuple[list[str], list[Candidate]]) -> None:
    tasks, members = group
    placed = place(tasks, members)
    assert placed.holders.keys() == set(tasks)
    assert not placed.warming
    assert not placed.standbys
    assert spread(counts(members, placed.holders)) <= 1
    for part in {part_of(task) for task in tasks}:
        assert spread(counts(members, placed.holders, part)) <= 1


@given(groups(lags=False))
def test_what_is_even_stays_as_it_is(group: tuple[list[str], list[Candidate]]) -> None:
    tasks, members = group
    first = place(tasks, members).holders
    settled = [Candidate(id=m.id, owned=frozenset(t for t in tasks if first[t] == m.id)) for m in members]
    assert place(tasks, settled).holders == first


@given(groups(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_order_of_the_arguments_does_not_matter(group, standbys, random) -> None:
    tasks, members = group
    shuffled_tasks, shuffled_members = random.sample(tasks, len(tasks)), random.sample(members, len(members))
    assert place(tasks, members, standbys=standbys) == place(shuffled_tasks, shuffled_members, standbys=standbys)


@given(groups())
def test_a_task_is_taken_only_by_who_has_caught_up_where_somebody_has(group: tuple[list[str], list[Candidate]]) -> None:
    tasks, members = group
    placed = place(tasks, members)
    lags = {member.id: member.lags for member in members}
    for task in tasks:
        complete = [id_ for id_, kept in lags.items() if kept.get(task, 1 << 60) <= 10_000]
        assert not complete or placed.holders[task] in complete


@given(groups(), st.integers(0, 4))
def test_copies_are_apart_from_the_holder_as_many_as_asked_and_spread(group, standbys) -> None:
    tasks, members = group
    placed = place(tasks, members, standbys=standbys, warming=0)
    wanted = min(standbys, len(members) - 1)
    load: Counter[str] = Counter()
    for task in tasks:
        copies = placed.standbys.get(task, ())
        assert placed.holders[task] not in copies
        assert len(set(copies)) == len(copies) == wanted
        load.update(copies)
    if wanted and spread(counts(members, placed.holders)) <= 1:
        assert spread([load[member.id] for member in members]) <= 1


@given(groups(), st.integers(0, 3))
def test_waiting_ends_with_even_shares(group: tuple[list[str], list[Candidate]], warming: int) -> None:
    """Each round some copies catch up; after enough rounds nothing waits, and all is even."""
    tasks, members = group
    for _ in range(len(tasks) + 1):
        placed = place(tasks, members, warming=warming + 1)
        assert len(placed.warming) <= warming + 1
        if not placed.warming:
            break
        members = [
            Candidate(
                id=m.id,
                owned=frozenset(t for t, holder in placed.holders.items() if holder == m.id),
                lags={t: 0 for t in tasks if placed.holders[t] == m.id or m.id in placed.standbys.get(t, ())},
            )
            for m in members
        ]
    assert not placed.warming
    assert spread(counts(members, placed.holders)) <= 1


def brute_force_kept(parts: dict[str, int], members: list[str], owned: Counter[tuple[str, str]]) -> int:
    """The most tasks that can stay, by trying all even quotas."""
    per_part = []
    for part, count in parts.items():
        base, extra = divmod(count, len(members))
        ways = [way for way in product((0, 1), repeat=len(members)) if sum(way) == extra]
        per_part.append([(part, [base + more for more in way]) for way in ways])
    best = -1
    for combination in product(*per_part):
        if spread([sum(column) for column in zip(*(way for _, way in combination), strict=True)]) <= 1:
            kept = sum(min(n, owned[m, part]) for part, way in combination for m, n in zip(members, way, strict=True))
            best = max(best, kept)
    return best


@given(st.data(), st.dictionaries(st.sampled_from("abc"), st.integers(1, 6), min_size=1), st.integers(1, 4))
def test_as_many_stay_as_can(data: st.DataObject, parts: dict[str, int], size: int) -> None:
    members = [f"m{n}" for n in range(size)]
    owned: Counter[tuple[str, str]] = Counter()
    for part, count in parts.items():
        for _ in range(count):
            owned[data.draw(st.sampled_from(members)), part] += 1
    room = quotas(parts, members, owned, owned)
    kept = sum(min(room[key], count) for key, count in owned.items())
    assert kept == brute_force_kept(parts, members, owned)


def placed(*members: Candidate, tasks: int = 4, **options: int) -> Placement:
    return place([f"a/{n}" for n in range(tasks)], members, **options)


def running(id_: str, *numbers: int, **lags: int) -> Candidate:
    tasks = [f"a/{n}" for n in numbers]
    return Candidate(
        id=id_, owned=frozenset(tasks), lags={**dict.fromkeys(tasks, 0), **{f"a/{k[1:]}": v for k, v in lags.items()}}
    )


def test_the_holder_keeps_a_task_until_its_next_holder_has_caught_up() -> None:
    first = placed(running("one", 0, 1, 2, 3), running("two"))
    assert set(first.holders.values()) == {"one"}
    assert len(first.warming) == 2
    assert {first.standbys[task] for task in first.warming} == {("two",)}

    near, far = sorted(first.warming)
    lags = {f"t{near[2:]}": 9_000, f"t{far[2:]}": 90_000}
    second = placed(running("one", 0, 1, 2, 3), running("two", **lags))
    assert second.holders[near] == "two"
    assert second.holders[far] == "one"
    assert second.warming == {far}


def test_a_standby_takes_over_from_a_holder_that_died() -> None:
    placing = placed(running("one", 0, 2, t1=40), running("two", t3=10))
    assert placing.holders["a/1"] == "one"
    assert placing.holders["a/3"] == "two"


def test_without_complete_state_the_nearest_that_has_room_takes_over() -> None:
    members = [running("one", t0=900_000, t1=800_000), running("two", t0=100_000, t1=200_000)]
    assert placed(*members, tasks=2).holders == {"a/0": "two", "a/1": "one"}


def test_copies_stay_where_they_are() -> None:
    members = [running("one", 0, t1=7), running("two", 1), running("three", t0=7)]
    assert placed(*members, tasks=2, standbys=1).standbys == {"a/0": ("three",), "a/1": ("one",)}


def test_partitions_are_ordered_as_numbers() -> None:
    holders = place([f"a/{n}" for n in range(12)], [Candidate(id="one"), Candidate(id="two")]).holders
    assert [holders[f"a/{n}"] for n in range(12)] == ["one", "two"] * 6


def test_a_group_without_members_places_nothing() -> None:
    assert place(["a/0"], []) == Placement({}, {}, frozenset())


def test_a_large_group_that_loses_a_member_moves_little_more_than_its_tasks() -> None:
    wanted = [f"p{p}/{n}" for p in range(20) for n in range(50)]
    ids = [f"m{n}" for n in range(50)]
    first = place(wanted, [Candidate(id=id_) for id_ in ids]).holders
    left = [Candidate(id=id_, owned=frozenset(t for t in wanted if first[t] == id_)) for id_ in ids[1:]]

    second = place(wanted, left).holders

    assert spread(counts(left, second)) <= 1
    assert len([task for task in wanted if first[task] not in (second[task], "m0")]) <= 20
