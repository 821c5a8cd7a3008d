"""A cluster view that loses what it is told to lose: requests that never leave, or answers that never come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows.brokers.kafka.cluster import Cluster
from flows.brokers.kafka.faults import Lost, Unreachable

Step = Callable[[Any], Any]


class Losses:
    """What is lost of the requests of one kind, by the name of their class; all else goes through."""

    def __init__(self, cluster: Cluster) -> None:
        self._send = cluster.send
        self.answers: dict[str, int] = {}
        """How many answers of each kind are still to be lost, after the broker has carried out the request."""
        self.requests: dict[str, int] = {}
        """How many requests of each kind are still never to be sent."""
        self.before: dict[str, Step] = {}
        """What is awaited before a request of this kind is sent."""
        self.seen: list[str] = []
        cluster.send = self._lossy  # type: ignore[method-assign]

    async def _lossy(self, node: int, request: Any, lane: Any = "") -> Any:
        kind = type(request).__name__.removesuffix("Request")
        self.seen.append(kind)
        if kind in self.before:
            await self.before[kind](request)
        if _due(self.requests, kind):
            raise Unreachable(f"{kind} was not sent")
        answer = await self._send(node, request, lane)
        if _due(self.answers, kind):
            raise Lost(f"the answer to {kind} was lost")
        return answer


def _due(counts: dict[str, int], kind: str) -> bool:
    if counts.get(kind, 0) > 0:
        counts[kind] -= 1
        return True
    return False
