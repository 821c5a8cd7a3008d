"""Log lines: for a person on a terminal, or one JSON object a line for machines; both on standard error."""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import msgspec

_COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "1;31"}
_QUIETER = ("aiokafka", "aiohttp.access", "asyncio", "kafka", "urllib3", "rocksdict", "selenium")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


class LineFormatter(logging.Formatter):
    """Write `12:00:01.234 info    flows.run.worker  message`, coloured on a terminal.

    Of several processes each puts its number before the level: `12:00:01.234 [2] info    …`.
    """

    def __init__(self, colour: bool, process: int | None = None) -> None:
        super().__init__()
        self._colour = colour
        self._process = "" if process is None else f"[{process}] "

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        shown = f"{level:<7}"
        if self._colour:
            shown = f"\x1b[{_COLOURS.get(level, '0')}m{shown}\x1b[0m"
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock}.{int(record.msecs):03d} {self._process}{shown} {record.name}  {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return line


class LineHandler(logging.StreamHandler[TextIO]):
    """Write lines to a stream; while there are progress bars on it, by `above`, which writes above them."""

    above: Callable[[str], None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.above is None:
            super().emit(record)
            return
        try:
            self.above(self.format(record))
        except Exception:  # noqa: BLE001  (logging never raises: it reports)
            self.handleError(record)


def write_lines_by(above: Callable[[str], None] | None) -> None:
    """Let log lines be written by a function instead, or (None) as usual."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.above = above


class JsonFormatter(logging.Formatter):
    """Write an object with `time` (ISO 8601, UTC), `level`, `logger`, `message`, `error`, and the `extra` fields.

    Of several processes each adds its number as `process`.
    """

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process is not None:
            line["process"] = self._process
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = self.formatException(record.exc_info)
        line.update((k, v) for k, v in vars(record).items() if k not in _OWN and k not in line)
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up_logs(
    level: str = "info", *, as_json: bool = False, stream: TextIO | None = None, process: int | None = None
) -> None:
    """Send all log records and Python warnings to standard error; other libraries speak from warnings up.

    `process` is the number of this one among several of a supervisor.
    """
    stream = stream or sys.stderr
    handler = LineHandler(stream)
    handler.setFormatter(JsonFormatter(process) if as_json else LineFormatter(_is_terminal(stream), process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quiet = logging.DEBUG if level == "debug" else logging.WARNING
    for name in _QUIETER:
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(True)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ
