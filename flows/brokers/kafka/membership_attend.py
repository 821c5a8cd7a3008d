"""How a member attends to its group: heartbeats, rounds when one is wanted, and what confirms that it is a member."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from flows.brokers.kafka.faults import Lost
from flows.brokers.kafka.membership_seat import NewRound, Seat
from flows.errors import BrokerUnavailable, Fenced

log = logging.getLogger(__name__)

_BEAT = 0.5
"""Seconds between heartbeats, at most: members learn of a new round by them, so it is how fast a group moves."""

_PAUSE = 0.2
_JOIN_PATIENCE = 30.0


class Attendance:
    """Keep the place of one member; `take_part` goes through one round."""

    def __init__(self, seat: Seat, take_part: Callable[[], Awaitable[None]]) -> None:
        self._seat, self._take_part = seat, take_part
        self._round_wanted = True
        self._wake = asyncio.Event()
        self._asking: list[asyncio.Future[None]] = []

    def want_round(self) -> None:
        """Ask for a round, the sooner the better."""
        self._round_wanted = True
        self._wake.set()

    async def begin(self) -> None:
        """Take part in a first round; raises `BrokerError`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max(_JOIN_PATIENCE, 3 * self._seat.lease)
        while self._round_wanted:
            try:
                await self._round()
            except NewRound:
                continue
            except Lost as lost:
                if loop.time() > deadline:
                    raise BrokerUnavailable(
                        f"cannot join group {self._seat.group!r}: {lost}", fix="check that the Kafka brokers are up"
                    ) from lost
                await asyncio.sleep(_PAUSE)

    async def go_on(self) -> None:
        """Attend until cancelled; raises `BrokerError` when the place is lost."""
        troubled = False
        while True:
            self._wake.clear()
            asking, self._asking = self._asking, []
            try:
                await (self._round() if self._round_wanted else self._seat.beat())
            except NewRound:
                self._round_wanted = True
            except Lost as lost:
                self._asking = asking + self._asking
                if not troubled:
                    log.warning("group %s: %s; this member tries again", self._seat.group, lost)
                troubled = True
                await asyncio.sleep(_PAUSE)
                continue
            troubled = False
            _answer(asking)
            if not self._round_wanted and not self._asking:
                await self._pause()

    async def confirm(self) -> None:
        """Wait until the coordinator has confirmed the place in answer to what was asked after this call.

        Raises `BrokerUnavailable` when it does not in time. Returns too when the place is lost.
        """
        confirmed = asyncio.get_running_loop().create_future()
        self._asking.append(confirmed)
        self._wake.set()
        try:
            async with asyncio.timeout(2 * self._seat.lease):
                await confirmed
        except TimeoutError:
            raise BrokerUnavailable(
                f"the coordinator of group {self._seat.group!r} does not answer", fix="check that the brokers are up"
            ) from None

    def end(self) -> None:
        """Let go of those who wait for a confirmation."""
        _answer(self._asking)

    async def _round(self) -> None:
        """Take part in a round, which waits for the slowest member, and show meanwhile that this one is alive."""
        self._round_wanted = False
        part = asyncio.ensure_future(self._take_part())
        try:
            while not (await asyncio.wait([part], timeout=self._interval))[0]:
                if self._seat.id:
                    await self._beat_beside()
            await part
        except BaseException:
            self._round_wanted = True
            raise
        finally:
            part.cancel()

    async def _beat_beside(self) -> None:
        asking, self._asking = self._asking, []
        try:
            await self._seat.beat(beside=True)
        except NewRound:
            _answer(asking)  # the place is this member's, and a round is under way
        except (Lost, Fenced):
            self._asking = asking + self._asking  # what the round comes to, tells it
        else:
            _answer(asking)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._wake.wait()
        except TimeoutError:
            pass

    @property
    def _interval(self) -> float:
        return min(self._seat.lease / 3, _BEAT)


def _answer(asking: list[asyncio.Future[None]]) -> None:
    for future in asking:
        if not future.done():
            future.set_result(None)
    asking.clear()
