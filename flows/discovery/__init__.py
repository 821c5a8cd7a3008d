"""Find and load the flow module that a command is about."""

from flows.discovery.find import NoAppFound, app_at_hand, find_app
from flows.discovery.load import ModuleFailed

__all__ = ["ModuleFailed", "NoAppFound", "app_at_hand", "find_app"]
