"""The source of a person's function, for what its names alone do not tell."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import CodeType


class FunctionSource:
    """A function as it is written. Raises `OSError` or `SyntaxError` where its source cannot be read."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self.tree = ast.parse(textwrap.dedent(inspect.getsource(code)))

    def place(self, node: ast.AST) -> str:
        """Return `file:line` of a part of it."""
        return f"{self._code.co_filename}:{self._code.co_firstlineno + getattr(node, 'lineno', 1) - 1}"
