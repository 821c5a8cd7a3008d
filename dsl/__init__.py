"""The language: what a person writes in a flow module. It only builds a plan and never imports `flows`."""

from dsl.aggregate import approx_distinct, count, first, last, max, mean, min, quantile, sum
from dsl.app import App
from dsl.errors import DeclarationError
from dsl.expr import Expr, col, lit, when
from dsl.record import Record
from dsl.stream import Stream
from dsl.table import DictTable, Table
from dsl.topic import Topic
from dsl.window import Window, hopping, tumbling

__all__ = [
    "App",
    "DeclarationError",
    "DictTable",
    "Expr",
    "Record",
    "Stream",
    "Table",
    "Topic",
    "Window",
    "approx_distinct",
    "col",
    "count",
    "first",
    "hopping",
    "last",
    "lit",
    "max",
    "mean",
    "min",
    "quantile",
    "sum",
    "tumbling",
    "when",
]
