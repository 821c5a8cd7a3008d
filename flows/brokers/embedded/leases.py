"""Groups in leases.db: members with leases, generations, and who holds and who should hold each task.

There is no coordinator. Whoever changes the set of members (by joining, leaving, or finding a lease run out)
computes in the same transaction which member every task should go to, and starts a new generation. From then on
each member only follows: it gives up what it holds but should not, and claims what it should hold once that is free.

Times are the machine's monotonic clock, which all processes share and no clock adjustment moves. After a reboot it
starts again, so a lease that ends later than any could has run out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from flows.brokers.base import Member
from flows.brokers.embedded.share import share
from flows.errors import Fenced, Replaced


class Seat(NamedTuple):
    """One membership: `incarnation` tells a member from an earlier one of the same id."""

    team: str
    member: str
    incarnation: str


class View(NamedTuple):
    """What a member sees of its group: `tasks` are its own, `leaving` are those that it should release."""

    generation: int
    tasks: frozenset[str]
    leaving: frozenset[str]


class Applicant(NamedTuple):
    """What a member says when it joins; `lease` in seconds."""

    seat: Seat
    tasks: tuple[str, ...]
    address: str
    plan: str
    lease: float


def join(db: sqlite3.Connection, applicant: Applicant, now: float) -> View:
    """Take a seat. An earlier member of the same id is fenced; with the same plan its tasks pass on at once."""
    seat = applicant.seat
    with writing(db):
        old = db.execute("SELECT plan FROM members WHERE team = ? AND id = ?", seat[:2]).fetchone()
        if old is not None and old[0] != applicant.plan:
            _remove(db, seat.team, seat.member)
        (joined,) = db.execute(
            "SELECT coalesce(max(joined), 0) + 1 FROM members WHERE team = ?", (seat.team,)
        ).fetchone()
        db.execute(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seat.team,
                seat.member,
                seat.incarnation,
                joined,
                applicant.address,
                applicant.plan,
                msgspec.json.encode(sorted(set(applicant.tasks))).decode(),
                now + applicant.lease,
                applicant.lease,
            ),
        )
        _expire(db, seat.team, now)
        _settle(db, seat.team)
        return _claim(db, seat)


def attend(db: sqlite3.Connection, seat: Seat, now: float, *, renew: bool) -> View:
    """Look at the group; renew the lease if wanted, expire others and claim free tasks where there are any.

    Raises `Fenced` when the seat is lost.
    """
    if not renew and not _work_to_do(db, seat, now):
        return view(db, seat)
    with writing(db):
        _check_seat(db, seat)
        db.execute("UPDATE members SET until = ? + lease WHERE team = ? AND id = ?", (now, *seat[:2]))
        if _expire(db, seat.team, now):
            _settle(db, seat.team)
        return _claim(db, seat)


def release(db: sqlite3.Connection, seat: Seat, tasks: Iterable[str]) -> View:
    """Hand tasks back, so that those who should hold them may claim them."""
    with writing(db):
        _check_seat(db, seat)
        rows = [(seat.team, task, seat.member) for task in tasks]
        db.executemany("UPDATE tasks SET holder = NULL WHERE team = ? AND task = ? AND holder = ?", rows)
        return view(db, seat)


def leave(db: sqlite3.Connection, seat: Seat) -> None:
    """Give the seat and all tasks back; does nothing when it is lost already."""
    with writing(db):
        if _has_seat(db, seat):
            _remove(db, seat.team, seat.member)
            _settle(db, seat.team)


def members(db: sqlite3.Connection, team: str, now: float) -> list[Member]:
    """Return the live members in order of joining, and what they hold."""
    held: dict[str, list[str]] = {}
    for task, holder in db.execute("SELECT task, holder FROM tasks WHERE team = ? ORDER BY task", (team,)):
        held.setdefault(holder, []).append(task)
    rows = db.execute(
        """SELECT id, address, plan, until FROM members WHERE team = ? AND until >= ? AND until <= ? + lease
           ORDER BY joined""",
        (team, now, now),
    )
    return [
        Member(id=id_, address=address, plan=plan, tasks=tuple(held.get(id_, ())), expires_in=until - now)
        for id_, address, plan, until in rows
    ]


def view(db: sqlite3.Connection, seat: Seat) -> View:
    """Return what the member holds and should hold; raises `Fenced` when the seat is lost."""
    _check_seat(db, seat)
    row = db.execute("SELECT generation FROM teams WHERE name = ?", (seat.team,)).fetchone()
    mine = db.execute("SELECT task, target FROM tasks WHERE team = ? AND holder = ?", seat[:2]).fetchall()
    tasks = frozenset(task for task, target in mine if target == seat.member)
    return View(row[0], tasks, frozenset(task for task, _ in mine) - tasks)


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """One write transaction, undone by any error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise


def _has_seat(db: sqlite3.Connection, seat: Seat) -> bool:
    row = db.execute("SELECT incarnation FROM members WHERE team = ? AND id = ?", seat[:2]).fetchone()
    return row is not None and row[0] == seat.incarnation


def _check_seat(db: sqlite3.Connection, seat: Seat) -> None:
    row = db.execute("SELECT incarnation FROM members WHERE team = ? AND id = ?", seat[:2]).fetchone()
    if row is None:
        raise Fenced(
            f"member {seat.member!r} has lost its place in group {seat.team!r}: its lease ran out (the process was "
            "stopped or too busy)",
            fix="drop its tasks and join again",
        )
    if row[0] != seat.incarnation:
        raise Replaced(
            f"member {seat.member!r} of group {seat.team!r} was replaced: another process joined with the same id",
            fix="give each process an instance_id of its own",
        )


def _work_to_do(db: sqlite3.Connection, seat: Seat, now: float) -> bool:
    row = db.execute(
        """SELECT EXISTS (SELECT 1 FROM members WHERE team = :team AND (until < :now OR until > :now + lease))
               OR EXISTS (SELECT 1 FROM tasks WHERE team = :team AND target = :member AND holder IS NULL)""",
        {"team": seat.team, "member": seat.member, "now": now},
    ).fetchone()
    return bool(row[0])


def _claim(db: sqlite3.Connection, seat: Seat) -> View:
    db.execute(
        "UPDATE tasks SET holder = :member WHERE team = :team AND target = :member AND holder IS NULL",
        {"team": seat.team, "member": seat.member},
    )
    return view(db, seat)


def _expire(db: sqlite3.Connection, team: str, now: float) -> bool:
    rows = db.execute(
        "SELECT id FROM members WHERE team = ? AND (until < ? OR until > ? + lease)", (team, now, now)
    ).fetchall()
    for (member,) in rows:
        _remove(db, team, member)
    return bool(rows)


def _remove(db: sqlite3.Connection, team: str, member: str) -> None:
    db.execute("DELETE FROM members WHERE team = ? AND id = ?", (team, member))
    db.execute("UPDATE tasks SET holder = NULL WHERE team = ? AND holder = ?", (team, member))


def _settle(db: sqlite3.Connection, team: str) -> None:
    """Start a new generation: choose the running plan, and who should hold each task."""
    rows = db.execute("SELECT id, plan, tasks FROM members WHERE team = ? ORDER BY joined", (team,)).fetchall()
    plan = _running_plan(db, team, [plan for _, plan, _ in rows])
    db.execute(
        """INSERT INTO teams VALUES (:team, 1, :plan)
           ON CONFLICT (name) DO UPDATE SET generation = generation + 1, plan = :plan""",
        {"team": team, "plan": plan},
    )
    active = {id_: tasks for id_, its_plan, tasks in rows if its_plan == plan}
    wanted = {task for tasks in active.values() for task in msgspec.json.decode(tasks, type=list[str])}
    before = db.execute("SELECT task, holder, target FROM tasks WHERE team = ?", (team,)).fetchall()
    current = {task: holder or target for task, holder, target in before}
    targets = share(wanted, list(active), current)
    db.executemany(
        "DELETE FROM tasks WHERE team = ? AND task = ?",
        [(team, task) for task in current if task not in wanted],
    )
    db.executemany(
        """INSERT INTO tasks (team, task, target) VALUES (?, ?, ?)
           ON CONFLICT (team, task) DO UPDATE SET target = excluded.target""",
        [(team, task, target) for task, target in targets.items()],
    )


def _running_plan(db: sqlite3.Connection, team: str, plans: list[str]) -> str:
    """The plan of the present generation runs on while a member has it; then that of the oldest member is next."""
    row = db.execute("SELECT plan FROM teams WHERE name = ?", (team,)).fetchone()
    if row is not None and (row[0] in plans or not plans):
        return str(row[0])
    return plans[0] if plans else ""
