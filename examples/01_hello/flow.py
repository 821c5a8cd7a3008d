"""Count words: one topic, one declared table, one agent. Try it with the commands in README.md beside this file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import flows
from flows import count, tumbling

app = flows.App("hello")


class Word(flows.Record):
    word: str
    at: float  # seconds since the epoch: the event time


words = app.topic("words", value=Word, key="word", timestamp="at")

words_per_minute = (
    words.group_by("word").window(tumbling("1m", grace="1m")).agg(times=count()).table("words_per_minute")
)

longest = app.table("longest", key=str, value=str, default=str)


@app.agent(words)
async def find_longest(stream: AsyncIterator[Word]) -> None:
    """Keep the longest word seen, by its first letter."""
    async for spoken in stream:
        letter = spoken.word[:1]
        if len(spoken.word) > len(longest[letter]):
            longest[letter] = spoken.word
