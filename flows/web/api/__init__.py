"""The API: one module a resource, each with its `endpoints()`."""

from __future__ import annotations

from flows.web.api import (
    agents,
    changes,
    dead_letters,
    description,
    downloads,
    health,
    metrics,
    query,
    status,
    tables,
    topic_changes,
    topics,
    topology,
)
from flows.web.endpoint import Endpoint


def endpoints() -> list[Endpoint]:
    """Return what can be asked of a worker, its gateway aside."""
    plan = (status, topology, agents)
    data = (tables, downloads, changes, topics, topic_changes, dead_letters, query)
    sight = (description, health, metrics)
    return [endpoint for room in (*plan, *data, *sight) for endpoint in room.endpoints()]
