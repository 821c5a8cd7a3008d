"""The worker's web server: its API, its live page, and what guards them."""

from flows.web.base import Limits, QueryResult, Status, StatusSource, TaskStatus
from flows.web.server import WebServer

__all__ = ["Limits", "QueryResult", "Status", "StatusSource", "TaskStatus", "WebServer"]
