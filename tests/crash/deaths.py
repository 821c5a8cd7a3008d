"""A process that dies at the numbered steps of the protocols, in the test driver."""

from __future__ import annotations

from flows.errors import OutcomeUnknown
from flows.testing import Driver

STARTS = [f"start {n}" for n in range(1, 7)]
RESTORES = [f"restore {n}" for n in range(1, 6)]
COMMITS = [f"commit {n}" for n in range(1, 7)]
STEPS = [*STARTS, *RESTORES, *COMMITS]


class Crash(BaseException):
    """The process dies here."""


class Deaths:
    """A probe that dies at some calls of some steps, once each, when armed."""

    def __init__(self, *deaths: tuple[str, int]) -> None:
        self.deaths = list(deaths)
        self.calls: dict[str, int] = {}
        self.armed = False
        self.happened = 0

    def __call__(self, step: str) -> None:
        if not self.armed:
            return
        self.calls[step] = self.calls.get(step, 0) + 1
        if (step, self.calls[step]) in self.deaths:
            self.deaths.remove((step, self.calls[step]))
            self.happened += 1
            raise Crash(step)


class InTurn(Deaths):
    """A probe that dies at the next call of each of some steps in turn, when armed."""

    def __call__(self, step: str) -> None:
        if self.armed and self.deaths and step == self.deaths[0][0]:
            del self.deaths[0]
            self.happened += 1
            raise Crash(step)


def survive(t: Driver, work: object, *args: object) -> None:
    """Do something; after each death recover as a new process would."""
    try:
        work(*args)  # type: ignore[operator]
    except (Crash, OutcomeUnknown):
        survive(t, t.crash)
