"""A thread that keeps a member's lease while the event loop is busy: a long computation in it is no death."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.connection import Connection
from flows.brokers.kafka.faults import Lost, Refused
from flows.brokers.kafka.membership_seat import NewRound, Seat
from flows.errors import BrokerError

log = logging.getLogger(__name__)

STALLED = 300.0
"""Seconds without an answer after which the loop is taken for dead, and its lease runs out. As Kafka's consumers."""


class Pulse:
    """Send heartbeats for a seat when the running loop has not answered for a third of the lease."""

    def __init__(self, connection: Connection, seat: Seat) -> None:
        self._connection, self._seat = connection, seat
        self._loop = asyncio.get_running_loop()
        self._answered = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"flows-pulse {seat.group}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """End the thread, without waiting for it."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(self._seat.lease / 6):
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the loop is closed
                return
            silent = time.monotonic() - self._answered
            if self._seat.lease / 3 < silent < STALLED:
                try:
                    asyncio.run(self._beat())
                except (Lost, Refused, BrokerError) as error:
                    log.debug("no heartbeat for a busy loop: %s", error)

    def _answer(self) -> None:
        self._answered = time.monotonic()

    async def _beat(self) -> None:
        cluster = Cluster(self._connection, "flows-pulse")
        await cluster.start()
        seat = self._seat.through(cluster)
        try:
            await seat.beat()
        except NewRound:
            pass  # the round waits for the loop
        finally:
            await cluster.close()
        self._seat.confirmed = max(self._seat.confirmed, seat.confirmed)
