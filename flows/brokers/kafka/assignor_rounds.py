"""One round of a group: from what its members say to what each is told. Pure; the leader computes it.

Nothing stops for a round. A task that should move is taken from nobody: its holder is told to let go of it, and the
round after it has done so gives it to the next (as in KIP-429). Who is gone says nothing, so holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from flows.brokers.kafka.assignor import Candidate, place
from flows.brokers.kafka.membership_said import Said, Told


def deal(said: Mapping[str, Said]) -> dict[str, Told]:
    """Return what to tell each member, by the same keys.

    1. Choose the plan that runs; members of another wait.
    2. Find who holds what.
    3. Place the running plan's tasks on its members.
    4. Tell each what it holds already and should, or what nobody holds; and what to let go of.
    """
    # 1
    plan = running_plan(said)
    active = {seat: one for seat, one in said.items() if one.plan == plan}
    # 2
    holders = _holders(said)
    # 3
    tasks = {task for one in active.values() for task in one.tasks}
    candidates = [
        Candidate(
            id=seat,
            owned=frozenset(task for task in one.owned if holders[task] == seat and task in tasks),
            lags={task: lag for task, lag in one.lags.items() if task in tasks},
        )
        for seat, one in active.items()
    ]
    placed = place(tasks, candidates, standbys=max((one.standbys for one in active.values()), default=0))
    # 4
    inputs = {task for one in active.values() for task, found in one.tasks.items() if found}
    copies = {task: found for task, found in placed.standbys.items() if task in inputs}
    return {
        seat: Told(
            plan=plan,
            waiting=one.plan != plan,
            tasks=sorted(t for t, to in placed.holders.items() if to == seat and holders.get(t, seat) == seat),
            leaving=sorted(t for t in one.owned if holders[t] == seat and placed.holders.get(t) != seat),
            standbys=sorted(
                {t for t, at in copies.items() if seat in at}
                # What it gets once that is released stays warm until then.
                | {t for t in one.lags if placed.holders.get(t) == seat != holders.get(t, seat)}
            ),
            warming=sorted(t for t in placed.warming if seat in copies.get(t, ())),
        )
        for seat, one in said.items()
    }


def running_plan(said: Mapping[str, Said]) -> str:
    """Return the plan that the group ran last if a member still has it, else that of the member that came first."""
    if not said:
        return ""
    last = max(said.values(), key=lambda one: (one.seen, one.ran)).ran
    if any(one.plan == last for one in said.values()):
        return last
    return min(said.values(), key=lambda one: (one.since == 0, one.since, one.member)).plan


def _holders(said: Mapping[str, Said]) -> dict[str, str]:
    """Return who holds each task: of two that say so, the one that has seen the later generation."""
    holders: dict[str, str] = {}
    for seat, one in sorted(said.items(), key=lambda item: (item[1].seen, item[1].member)):
        for task in one.owned:
            holders[task] = seat
    return holders
