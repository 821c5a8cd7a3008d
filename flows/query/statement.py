"""What an SQL statement wants to read, checked before anything runs: one SELECT over tables, nothing else.

DuckDB itself parses; its tree is walked for tables and table functions. A table function is allowed by name, so that
one which a later version adds cannot reach a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import duckdb
import msgspec

from dsl.errors import nearest
from flows.errors import FlowsError

_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"})
_OWN_SCHEMAS = frozenset({"", "main", "temp"})


class QueryError(FlowsError):
    """A query that is wrong, not allowed or too long."""


class Statement(msgspec.Struct, frozen=True):
    """A checked SELECT and the known tables that it names."""

    sql: str
    tables: frozenset[str]


def read_statement(connection: duckdb.DuckDBPyConnection, sql: str, known: Iterable[str]) -> Statement:
    """Check a statement against the tables there are. Raises `QueryError`."""
    known = list(known)
    found = _single(connection, sql, known)
    if found.type != duckdb.StatementType.SELECT:
        raise QueryError(f"only SELECT is allowed here, not {_name_of(found)}", fix="write one SELECT over the tables")
    tree = _tree(connection, sql)
    nodes = list(_walk(tree))
    for node in nodes:
        if node.get("type") == "TABLE_FUNCTION":
            _check_function(str(node["function"]["function_name"]))
    return Statement(sql, frozenset(_tables(nodes, known)))


def _single(connection: duckdb.DuckDBPyConnection, sql: str, known: list[str]) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        quotable = [k for k in known if not k.isidentifier() and k in sql and f'"{k}"' not in sql]
        raise QueryError(first_line(error), fix=f'write "{quotable[0]}" in quotes' if quotable else "") from None
    if len(statements) != 1:
        given = "none" if not statements else f"{len(statements)}"
        raise QueryError(f"expected one SQL statement, got {given}", fix="ask one SELECT at a time")
    return statements[0]


def _name_of(statement: duckdb.Statement) -> str:
    name = statement.type.name
    return "PIVOT or several in one (put it in a sub-query with an IN list)" if name == "MULTI" else name


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    try:
        ((text,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    except duckdb.Error as error:
        raise QueryError(first_line(error)) from None
    tree: dict[str, Any] = msgspec.json.decode(text)
    if tree.get("error"):
        raise QueryError(f"this statement is not understood: {tree.get('error_message')}")
    return tree


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a tree; not by recursion, since a stranger decides how deep it is."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _check_function(name: str) -> None:
    if name.lower() not in _FUNCTIONS:
        raise QueryError(f"table function {name!r} is not allowed", fix="read the tables; files cannot be read")


def _tables(nodes: list[dict[str, Any]], known: list[str]) -> Iterator[str]:
    by_fold = {k.casefold(): k for k in known}
    own = {str(entry["key"]).casefold() for n in nodes for entry in _common(n)}
    for node in nodes:
        if node.get("type") == "SHOW_REF" and node.get("query") is None:
            yield from known
        elif node.get("type") == "BASE_TABLE":
            name, schema = str(node["table_name"]), str(node.get("schema_name", ""))
            found = name if name in known else by_fold.get(name.casefold())
            if found is not None and schema.casefold() in _OWN_SCHEMAS:
                yield found
            elif schema.casefold() in ("information_schema", "pg_catalog"):
                yield from known
            elif name.casefold() not in own:
                raise unknown_table(f"{schema}.{name}" if schema else name, known)


def _common(node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the WITH queries of a node."""
    entries = (node.get("cte_map") or {}).get("map") or []
    return [e for e in entries if isinstance(e, dict) and "key" in e]


def unknown_table(name: str, known: list[str]) -> QueryError:
    """Make the error of a table that is not there."""
    if name in known:
        return QueryError(f"table {name!r} is not there under this name", fix=f'write it in quotes: "{name}"')
    close = nearest(name, known)
    listed = ", ".join(sorted(known)) or "none"
    return QueryError(f"there is no table {name!r}", fix=f"did you mean {close!r}?" if close else f"tables: {listed}")


def first_line(error: BaseException) -> str:
    """Return DuckDB's message without its excerpt of the statement."""
    return " ".join(str(error).split("\n\n")[0].split())
