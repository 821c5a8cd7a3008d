"""The plan as JSON and back: what `flows topology --json` prints, what tools read, what two workers compare.

JSON has no bytes, times or infinities, so literals of these types are wrapped, `{"datetime": "2013-01-01T00:00:00"}`;
everything else is the nodes themselves, each with its `type`.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Callable
from typing import Any, cast

import msgspec

from dsl.plan.graph import Plan
from dsl.plan.nodes import Node

FORMAT = 1
"""The version of the JSON form; raised when a reader of the old form would misread the new one."""

_KEPT = (bytes, dt.datetime, dt.date, dt.timedelta)
_MICROSECOND = dt.timedelta(microseconds=1)
_READ: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "microseconds": lambda count: count * _MICROSECOND,
    "float": float,
}


def plan_to_builtins(plan: Plan) -> dict[str, Any]:
    """Turn a plan into dicts, lists, text and numbers, its sub-topologies included."""
    return {
        "format": FORMAT,
        "app": plan.app,
        "subtopologies": msgspec.to_builtins(plan.subtopologies),
        "nodes": [node_to_builtins(node) for node in plan.nodes.values()],
    }


def node_to_builtins(node: Node) -> dict[str, Any]:
    """Turn one node into dicts, lists, text and numbers."""
    return cast(dict[str, Any], _wrap(msgspec.to_builtins(node, builtin_types=_KEPT)))


def plan_from_json(text: str | bytes) -> Plan:
    """Read back what `explain_json` wrote; the callables and Record classes are not in it.

    Raises `ValueError` when the text is no plan or one of another format.
    """
    try:
        found = msgspec.json.decode(text)
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            given = found.get("format") if isinstance(found, dict) else None
            raise ValueError(f"this is no plan of format {FORMAT} (its format is {given!r})")
        nodes = tuple(msgspec.convert(_unwrap(node), Node) for node in found["nodes"])
        return Plan(found["app"], nodes)
    except (msgspec.MsgspecError, KeyError) as problem:
        raise ValueError(f"this is no plan: {problem}") from problem


def _wrap(item: Any) -> Any:
    match item:
        case dict():
            return {key: _wrap(value) for key, value in item.items()}
        case list() | tuple():
            return [_wrap(value) for value in item]
        case bytes():
            return {"bytes": base64.b64encode(item).decode()}
        case dt.datetime():
            return {"datetime": item.isoformat()}
        case dt.date():
            return {"date": item.isoformat()}
        case dt.timedelta():
            return {"microseconds": item // _MICROSECOND}
        case float() if not math.isfinite(item):
            return {"float": repr(item)}
    return item


def _unwrap(item: Any) -> Any:
    if isinstance(item, list):
        return [_unwrap(value) for value in item]
    if not isinstance(item, dict):
        return item
    if item.get("type") == "literal" and isinstance(item["value"], dict):
        ((kind, value),) = item["value"].items()
        return {**item, "value": _READ[kind](value)}
    return {key: _unwrap(value) for key, value in item.items()}
