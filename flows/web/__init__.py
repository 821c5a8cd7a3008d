"""The worker's web server: its API, its live page, and what guards them."""

from flows.web.base import Group, GroupStatus, Limits, QueryResult, Status, StatusSource, TaskStatus, WorkerStatus
from flows.web.server import WebServer

__all__ = [
    "Group",
    "GroupStatus",
    "Limits",
    "QueryResult",
    "Status",
    "StatusSource",
    "TaskStatus",
    "WebServer",
    "WorkerStatus",
]
