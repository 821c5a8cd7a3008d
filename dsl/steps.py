"""What an app has declared so far: its steps by name, with the functions and types that belong to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsl.checks import checked_name
from dsl.errors import DeclarationError
from dsl.plan.nodes import Node
from dsl.table import AgentTable


class Steps:
    """The names, nodes, functions and types of an app."""

    def __init__(self, id: str) -> None:
        self.id = checked_name("app", id)
        self._nodes: dict[str, Node] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._types: dict[str, Any] = {}
        self._tables: dict[str, AgentTable | None] = {}

    def _add(self, node: Node, function: Callable[..., Any] | None = None, type_: Any = None) -> None:
        self._nodes[node.id] = node
        if function is not None:
            self._functions[node.id] = function
        if type_ is not None:
            self._types[node.id] = type_

    def _new_step(self, step: str, *, numbered: bool = True) -> str:
        if step not in self._nodes:
            return step
        if not numbered:
            raise DeclarationError(f"the name {step!r} is taken by another topic, table or agent of the app.")
        number = 2
        while f"{step}-{number}" in self._nodes:
            number += 1
        return f"{step}-{number}"

    def _claim_table(self, name: str) -> None:
        checked_name("table", name)
        if name in self._tables:
            raise DeclarationError(f"table {name!r} is declared twice: each table needs a name of its own.")
        if name in self._nodes:
            raise DeclarationError(f"the name {name!r} is taken by another topic, table or agent of the app.")
        self._tables[name] = None
