"""Fill the topics that the queries read: each worker of this app goes on where the last one stopped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from events import Auction, Bid, Event, Person, events, topics

import flows

EVENTS = 5_000

app = flows.App("nexmark")
persons, auctions, bids = topics(app)
Kind = TypeVar("Kind", bound=Event)


def of(kind: type[Kind], position: int) -> Iterator[Kind]:
    """Yield the events of one kind from a position on."""
    return islice((event for event in events(EVENTS) if isinstance(event, kind)), position, None)


@app.source(persons)
def register(position: int) -> Iterator[Person]:
    return of(Person, position)


@app.source(auctions)
def open_auctions(position: int) -> Iterator[Auction]:
    return of(Auction, position)


@app.source(bids)
def place_bids(position: int) -> Iterator[Bid]:
    return of(Bid, position)
