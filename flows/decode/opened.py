"""The codecs of a plan with the registry of the settings."""

from __future__ import annotations

from pathlib import Path

from dsl.plan.graph import Plan
from flows.decode.codecs import Codecs, Register
from flows.decode.registry import HttpRegistry


def open_codecs(
    plan: Plan,
    *,
    url: str | None,
    user: str | None = None,
    password: str | None = None,
    ca_file: Path | None = None,
    register: Register = "written",
) -> Codecs:
    """Return the codecs of a plan. They have to be closed."""
    registry = None if url is None else HttpRegistry(url, user=user, password=password, ca_file=ca_file)
    return Codecs(plan, registry, register)
