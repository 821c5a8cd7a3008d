"""Refused records: kept in the app's dead-letter topic with the reason and the origin, or as `on_error` says."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flows.brokers.base import Headers, Records
from flows.errors import FlowsError
from flows.operate.base import Outputs

log = logging.getLogger("flows.dead_letters")

_MAX_VALUE = 900_000
_TELL_EVERY_MS = 10_000
_SHOWN = 300


class DeadLetterBox:
    """Take refused records of one task; `count` learns of each by (step, on_error)."""

    def __init__(
        self, topic: str, outputs: Outputs, now_ms: Callable[[], int], count: Callable[[str, str], None]
    ) -> None:
        self._topic, self._outputs, self._now_ms, self._count = topic, outputs, now_ms, count
        self._told: dict[str, tuple[int | None, int]] = {}

    def refuse(self, step: str, records: Records, row: int, reason: str, *, on_error: str = "dead-letter") -> None:
        """Dead-letter a record, skip it, or raise `FlowsError` to stop the task before it."""
        where = f"{records.origin(row)}/{records.offsets[row]}"
        if on_error == "stop":
            raise FlowsError(
                f"{step}: record {where} refused: {reason}", fix="mend the producer, or declare on_error='dead-letter'"
            )
        self._count(step, on_error)
        self._tell(step, on_error, where, reason)
        if on_error == "dead-letter":
            key, value = _fitting(records.keys[row]), _fitting(records.values[row])
            headers = self._headers(step, records, row, reason, value)
            self._outputs.append(self._topic, 0, key, value, self._now_ms(), headers)

    def _tell(self, step: str, on_error: str, where: str, reason: str) -> None:
        """Log the first refusal of a step, and now and then how many there were since."""
        now = self._now_ms()
        told, since = self._told.get(step, (None, 0))
        if told is not None and now - told < _TELL_EVERY_MS:
            self._told[step] = (told, since + 1)
            return
        self._told[step] = (now, 0)
        done = "goes to the dead letters" if on_error == "dead-letter" else "is skipped"
        more = f" ({since} more since the last such line)" if since else ""
        log.warning("%s: record %s %s: %s%s", step, where, done, reason[:_SHOWN], more)

    def _headers(self, step: str, records: Records, row: int, reason: str, value: bytes | None) -> Headers:
        original = records.values[row]
        cut = () if original is None or value == original else (("truncated-from", str(len(original)).encode()),)
        own = records.headers[row] if records.headers is not None else ()
        return (
            ("reason", reason[:4000].encode(errors="replace")),
            ("step", step.encode()),
            ("topic", records.origin(row).topic.encode()),
            ("partition", str(records.origin(row).partition).encode()),
            ("offset", str(records.offsets[row]).encode()),
            ("timestamp", str(records.timestamps[row]).encode()),
            *cut,
            *((f"original-{name}", content[:1000]) for name, content in own[:20]),
        )


def _fitting(data: bytes | None) -> bytes | None:
    return data if data is None or len(data) <= _MAX_VALUE else data[: _MAX_VALUE // 2]
