"""The language: what a person writes in a flow module. It only builds a plan and never imports `flows`.

Examples in its docstrings go on from here:

    import flows
    from flows import col, count, lit, max, sum, tumbling, when  # and so on

    class Departure(flows.Record):
        carrier: str
        origin: str
        delay: float | None = None  # minutes
        at: float = 0.0  # seconds since the epoch

    app = flows.App("airport")
    departures = app.topic("departures", value=Departure, key="origin", timestamp="at")
"""

from dsl.aggregate import (
    approx_distinct,
    arg_max,
    arg_min,
    collect,
    count,
    first,
    fold,
    histogram,
    last,
    max,
    mean,
    min,
    quantile,
    std,
    sum,
    top_k,
    var,
)
from dsl.app import App
from dsl.codecs import Avro, Codec, Protobuf
from dsl.errors import DeclarationError
from dsl.expr import Expr, col, lit, when
from dsl.global_table import GlobalTable
from dsl.key_timer import KeyTimer
from dsl.record import Record
from dsl.routing import Router, router
from dsl.sets import SetTable
from dsl.stream import Stream
from dsl.table import DictTable, Table
from dsl.topic import Topic
from dsl.window import Window, count_window, hopping, session, sliding, tumbling
from dsl.windowed import WindowedTable
from dsl.windowed_sets import WindowedSetTable

__all__ = [
    "App",
    "Avro",
    "Codec",
    "DeclarationError",
    "DictTable",
    "Expr",
    "GlobalTable",
    "KeyTimer",
    "Protobuf",
    "Record",
    "Router",
    "SetTable",
    "Stream",
    "Table",
    "Topic",
    "Window",
    "WindowedSetTable",
    "WindowedTable",
    "approx_distinct",
    "arg_max",
    "arg_min",
    "col",
    "collect",
    "count",
    "count_window",
    "first",
    "fold",
    "histogram",
    "hopping",
    "last",
    "lit",
    "max",
    "mean",
    "min",
    "quantile",
    "router",
    "session",
    "sliding",
    "std",
    "sum",
    "top_k",
    "tumbling",
    "var",
    "when",
]
