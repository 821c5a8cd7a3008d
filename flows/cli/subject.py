"""What a command is about: an app's plan where one can be found, and the settings that say where its data is.

A data folder keeps the plan that wrote it (`plan.json`), so that tables can be read without their module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dsl import App
from dsl.plan.explain import plan_from_json
from dsl.plan.graph import Plan
from dsl.plan.nodes import AggregateNode, fold_id
from flows.discovery import NoAppFound, find_app
from flows.errors import UsageError
from flows.settings import Settings, load_settings

PLAN_FILE = "plan.json"


class Subject(msgspec.Struct, frozen=True):
    """The plan and settings of a command; `app` is None where only a data folder is known."""

    plan: Plan
    settings: Settings
    app: App | None


def find_subject(target: str | None, *, broker: str | None, data: str | None) -> Subject:
    """Find the app, or a data folder that an app has left. Raises `UsageError` when there is neither."""
    options = {"broker": broker, "data": data}
    try:
        app = find_app(target)
    except NoAppFound as error:
        folder = Path(data) if data else _only_folder(error)
        plan = stored_plan(folder)
        if plan is None:
            raise UsageError(f"{folder} has no {PLAN_FILE}: no worker has run there", fix=error.fix) from None
        return Subject(plan, load_settings(plan.app, {**options, "data": str(folder)}), None)
    return Subject(app.plan(), load_settings(app.id, options), app)


def plan_of_data(subject: Subject) -> Plan:
    """Return the plan that wrote the data folder, with what the app knows of its types; the app's where none did."""
    stored = stored_plan(subject.settings.data)
    if stored is None or stored.app != subject.plan.app:
        return subject.plan
    own = subject.plan
    # A fold's function stands under a name of its own, and belongs to its table.
    tables = {fold_id(n.table, call.name): n.id for n in own.of_type(AggregateNode) for call in n.aggregates}
    types: dict[str, Any] = {
        name: known
        for name, known in own.types.items()
        if stored.nodes.get(tables.get(name, name)) == own.nodes[tables.get(name, name)]
    }
    return Plan(stored.app, tuple(stored.nodes.values()), None, types)


def stored_plan(folder: Path) -> Plan | None:
    """Read the plan that a worker left in its data folder; None where there is none."""
    path = folder / PLAN_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", fix="name another folder by --data") from None
    try:
        return plan_from_json(text)
    except ValueError as error:
        raise UsageError(
            f"{path}: {error}", fix="name the app by -A, with the version of Flows that wrote it"
        ) from None


def _only_folder(error: NoAppFound) -> Path:
    """Return the only data folder of the working directory; raise what went before where there is none."""
    found = sorted(p.parent for p in Path(".flows").glob(f"*/{PLAN_FILE}"))
    if not found:
        raise error
    if len(found) > 1:
        raise UsageError(
            f"several apps have data here: {', '.join(p.name for p in found)}", fix=f"choose one: --data {found[0]}"
        )
    return found[0]
