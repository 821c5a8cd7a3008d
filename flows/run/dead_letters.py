"""Dead letters as the web server tells of them, and on their way back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing

from dsl.plan.graph import Plan
from flows.brokers.base import Broker, Headers, Records, TopicPartition
from flows.decode.codecs import Codecs
from flows.run.reading import first_record, read_records
from flows.run.redrive import Letter, Offsets, Redriver, letters_partition
from flows.run.showing import cut, shown, text_of, value_of
from flows.web.topics import DeadLetter, LetterFilter, LettersFound, Redriven

_SCAN = 20_000
_CHUNK = 1000
_ORIGINAL = "original-"


class DeadLetters:
    """The dead letters of an app; `redriver` knows which were driven again."""

    def __init__(self, plan: Plan, broker: Broker, codecs: Codecs, redriver: Redriver) -> None:
        self._plan, self._broker, self._codecs, self._redriver = plan, broker, codecs, redriver
        self._tp = letters_partition(plan.app)

    async def newest(self, wanted: LetterFilter, before: int | None, limit: int) -> LettersFound:
        """Return letters, newest first: at most `limit`, of a bounded number that is looked at."""
        book = await self._redriver.look()
        start, end = await self._bounds()
        top = end if before is None else max(start, min(before, end))
        found: list[Letter] = []
        low = top
        while low > start and len(found) < limit and top - low < _SCAN:
            high, low = low, max(start, low - _CHUNK)
            found += reversed([letter async for letter in self._between(low, high) if _is_wanted(wanted, letter, book)])
        told = found[:limit]
        if len(found) > limit:
            low = told[-1].offset
        letters = [await self._told(letter, letter.offset in book) for letter in told]
        return LettersFound(letters=letters, total=end - start, redriven=len(book), before=low if low > start else None)

    async def redrive(self, offsets: Iterable[int]) -> Redriven:
        """Drive the letters at these offsets again; where there is none, nothing is done."""
        return await self._redriver.drive(self._at(sorted(set(offsets))))

    async def redrive_all(self, wanted: LetterFilter, until: int) -> Redriven:
        """Drive all wanted letters below an offset again."""
        return await self._redriver.drive(self._all(wanted, until))

    async def _at(self, offsets: list[int]) -> AsyncIterator[Letter]:
        start, end = await self._bounds()
        for offset in offsets:
            if start <= offset < end:
                found = await first_record(self._broker, self._tp, offset, offset + 1)
                for letter in () if found is None else letters_of(found):
                    yield letter

    async def _all(self, wanted: LetterFilter, until: int) -> AsyncIterator[Letter]:
        start, end = await self._bounds()
        book = self._redriver.book
        async with aclosing(self._between(start, min(until, end))) as letters:
            async for letter in letters:
                if _is_wanted(wanted, letter, book):
                    yield letter

    async def _between(self, start: int, end: int) -> AsyncGenerator[Letter]:
        if start >= end:
            return
        async with aclosing(read_records(self._broker, {self._tp: start}, {self._tp: end}, None)) as batches:
            async for batch in batches:
                for letter in letters_of(batch):
                    yield letter

    async def _bounds(self) -> tuple[int, int]:
        starts, ends = await self._broker.start_offsets([self._tp]), await self._broker.end_offsets([self._tp])
        return starts[self._tp], ends[self._tp]

    async def _told(self, letter: Letter, redriven: bool) -> DeadLetter:
        value = text_of(await self._readable(letter))
        short = cut(value)
        return DeadLetter(
            offset=letter.offset,
            at=letter.at / 1000,
            reason=letter.reason,
            step=letter.step,
            topic=letter.topic,
            partition=letter.partition,
            original_offset=letter.original_offset,
            original_timestamp=letter.timestamp / 1000,
            key=cut(text_of(letter.key)),
            value=value_of(value) if short == value else short,
            headers=tuple((name, cut(text_of(content))) for name, content in letter.headers),
            cut=short != value,
            truncated=letter.truncated,
            redriven=redriven,
        )

    async def _readable(self, letter: Letter) -> bytes | None:
        """Return the value as JSON where the original topic's codec can tell it."""
        as_original = Records(
            tp=TopicPartition(letter.topic, letter.partition),
            offsets=[letter.original_offset],
            timestamps=[letter.timestamp],
            keys=[letter.key],
            values=[letter.value],
            headers=None,
            next_offset=letter.original_offset + 1,
        )
        return (await shown(as_original, self._plan, self._codecs)).values[0]


def letters_of(records: Records) -> Iterator[Letter]:
    """Yield the letters of records; one that Flows has not written has no topic to go back to."""
    headers = records.headers or [()] * len(records)
    for row, own in enumerate(headers):
        told: dict[str, str] = {}
        for name, content in own:
            told.setdefault(name, text_of(content) or "")
        yield Letter(
            offset=records.offsets[row],
            at=records.timestamps[row],
            key=records.keys[row],
            value=records.values[row],
            reason=told.get("reason", ""),
            step=told.get("step", ""),
            topic=told.get("topic", ""),
            partition=_number(told.get("partition")),
            original_offset=_number(told.get("offset")),
            timestamp=_number(told.get("timestamp")),
            truncated="truncated-from" in told,
            headers=_originals(own),
        )


def _originals(headers: Headers) -> Headers:
    return tuple((n.removeprefix(_ORIGINAL), content) for n, content in headers if n.startswith(_ORIGINAL))


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else -1


def _is_wanted(wanted: LetterFilter, letter: Letter, book: Offsets) -> bool:
    return (
        (wanted.step is None or wanted.step == letter.step)
        and (wanted.topic is None or wanted.topic == letter.topic)
        and (wanted.reason is None or wanted.reason in letter.reason)
        and not (wanted.waiting and letter.offset in book)
    )
