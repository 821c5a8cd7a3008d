"""The events of Nexmark, an auction house: persons who register, auctions that they open, bids; always the same.

Numbers, ids and proportions are those of Apache Beam's generator (sdks/java/testing/nexmark), with shorter texts: of 50
events one is a person, 3 are auctions and 46 bids; half of the bids are for a hot auction, three of four are by a hot
bidder; times go back and forth within groups of `GROUP` events.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import flows

RATE = 200.0
"""Events a second of event time."""

GROUP = 100
"""Events whose order is shuffled: so no event is more than `GROUP / RATE` seconds behind another before it."""

GRACE = "1s"
LONGEST = "20s"
"""More than the disorder of `RATE`; more than any auction lasts at that rate."""

BEGIN = 1_700_000_000
_OF, _PERSONS, _AUCTIONS = 50, 1, 3
_FIRST_ID, _FIRST_CATEGORY, _CATEGORIES = 1000, 10, 5
_IN_FLIGHT, _ACTIVE, _LEAD, _HOT = 100, 1000, 10, 100
_STATES = ("AZ", "CA", "ID", "OR", "WA", "WY")
_CITIES = (
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
)
_FIRST = ("Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter")
_LAST = ("Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris")
_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")


class Person(flows.Record):
    id: int
    name: str
    email: str
    credit_card: str
    city: str
    state: str
    at: float  # seconds since the epoch
    extra: str = ""


class Auction(flows.Record):
    id: int
    item_name: str
    description: str
    initial_bid: int
    reserve: int
    expires: float
    seller: int
    category: int
    at: float
    extra: str = ""


class Bid(flows.Record):
    auction: int
    bidder: int
    price: int
    channel: str
    url: str
    at: float
    extra: str = ""


Event = Person | Auction | Bid


def topics(app: flows.App) -> tuple[flows.Topic, flows.Topic, flows.Topic]:
    """Declare the topics of persons, auctions and bids, which all queries share."""
    same = {"timestamp": "at", "partitions": 4, "partitioned_by": "murmur2", "retention": None}
    return (
        app.topic("nexmark-persons", value=Person, key="id", **same),
        app.topic("nexmark-auctions", value=Auction, key="id", **same),
        app.topic("nexmark-bids", value=Bid, key="auction", **same),
    )


def events(count: int, *, rate: float = RATE, seed: int = 1) -> Iterator[Event]:
    """Yield the first events, in the order in which they are sent."""
    draw = random.Random(seed)
    for number in range(count):
        first = number // GROUP * GROUP
        yield _event(first + number * 953 % GROUP, rate, draw)


def _event(number: int, rate: float, draw: random.Random) -> Event:
    epoch, place = divmod(number, _OF)
    at = round(BEGIN + number / rate, 6)
    if place < _PERSONS:
        return _person(epoch + place, at, draw)
    persons = epoch * _PERSONS + _PERSONS
    if place < _PERSONS + _AUCTIONS:
        return _auction(epoch * _AUCTIONS + place - _PERSONS, persons, at, rate, draw)
    return _bid(epoch * _AUCTIONS + _AUCTIONS, persons, at, draw)


def _person(number: int, at: float, draw: random.Random) -> Person:
    first, last = draw.choice(_FIRST), draw.choice(_LAST)
    return Person(
        id=_FIRST_ID + number,
        name=f"{first} {last}",
        email=f"{first}.{last}@example.org".lower(),
        credit_card=" ".join(f"{draw.randrange(10_000):04d}" for _ in range(4)),
        city=draw.choice(_CITIES),
        state=draw.choice(_STATES),
        at=at,
    )


def _auction(number: int, persons: int, at: float, rate: float, draw: random.Random) -> Auction:
    hot = draw.randrange(4) > 0
    initial, horizon = _price(draw), _IN_FLIGHT * _OF / _AUCTIONS / rate
    return Auction(
        id=_FIRST_ID + number,
        item_name=f"item {draw.randrange(1000)}",
        description="as good as new",
        initial_bid=initial,
        reserve=initial + _price(draw),
        expires=round(at + 0.001 + draw.random() * 2 * horizon, 6),
        seller=_FIRST_ID + ((persons - 1) // _HOT * _HOT if hot else _anyone(persons, draw)),
        category=_FIRST_CATEGORY + draw.randrange(_CATEGORIES),
        at=at,
    )


def _bid(auctions: int, persons: int, at: float, draw: random.Random) -> Bid:
    hot_auction, hot_bidder = draw.randrange(2) > 0, draw.randrange(4) > 0
    oldest = max(auctions - 1 - _IN_FLIGHT, 0)
    auction = (auctions - 1) // _HOT * _HOT if hot_auction else oldest + draw.randrange(auctions - oldest + _LEAD)
    channel = draw.choice(_CHANNELS)
    return Bid(
        auction=_FIRST_ID + auction,
        bidder=_FIRST_ID + ((persons - 1) // _HOT * _HOT + 1 if hot_bidder else _anyone(persons, draw)),
        price=_price(draw),
        channel=channel,
        url=f"https://www.nexmark.org/{channel.lower()}/{draw.randrange(1_000_000)}",
        at=at,
    )


def _anyone(persons: int, draw: random.Random) -> int:
    """Return one of those who registered last, or of those who are about to."""
    active = min(persons, _ACTIVE)
    return persons - active + draw.randrange(active + _LEAD)


def _price(draw: random.Random) -> int:
    return round(10 ** (draw.random() * 6) * 100)
