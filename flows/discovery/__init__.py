"""Find and load the flow module that a command is about."""

from flows.discovery.find import NoAppFound, find_app
from flows.discovery.load import ModuleFailed

__all__ = ["ModuleFailed", "NoAppFound", "find_app"]
