"""From the text of a key to its bytes and its partition, the same that a worker writes it to."""

from __future__ import annotations

import datetime as dt

import pytest

import flows
from flows.compile.lookup import KeyLookup
from flows.errors import FlowsError
from flows.route.partitioner import murmur2
from flows.state.keys import KeyCodec

app = flows.App("shop", partitions=8)


class Sale(flows.Record):
    shop: str
    day: dt.date
    item: int


sold = app.topic("sold", value=Sale, key="shop")
routed = app.topic("routed", value=Sale, key="shop", partitioned_by="murmur2")
sold.group_by("shop").agg(n=flows.count()).table("by_shop")
routed.group_by("shop").agg(n=flows.count()).table("by_routed_shop")
sold.group_by("item").agg(n=flows.count()).table("by_item")
sold.group_by("item", "day").agg(n=flows.count()).table("by_both")
routed.group_by("item", "shop").agg(n=flows.count()).table("by_shop_too")
sold.group_by("day").agg(n=flows.count()).table("by_day")
swapped = routed.select("day", shop=flows.col("item"), item=flows.col("shop"))
swapped.group_by("item", "shop").agg(n=flows.count()).table("by_swapped")
pairs = app.table("pairs", key=tuple[str, int], value=int)
raw = app.table("raw", key=bytes, value=int)


@app.agent(sold, tables=[pairs, raw])
async def keep(stream: flows.Stream) -> None:
    async for _ in stream:
        pass


def read(table: str, **key: str) -> tuple[bytes, int | None]:
    return KeyLookup(app.plan(), table).read(key)


def partition(key: bytes) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % 8


@pytest.mark.parametrize(
    ("table", "key", "types", "value"),
    [
        ("by_item", {"item": "7"}, (int,), 7),
        ("by_both", {"day": "2013-01-31", "item": "7"}, (int, object), (7, dt.date(2013, 1, 31))),
        ("by_day", {"day": "2013-01-31"}, (object,), dt.date(2013, 1, 31)),
    ],
)
def test_a_repartition_is_found_by_the_stored_bytes(
    table: str, key: dict[str, str], types: tuple[type, ...], value: object
) -> None:
    encoded = KeyCodec(types).encode(value)
    assert read(table, **key) == (encoded, partition(encoded))


def test_a_topic_is_trusted_only_where_its_partitioner_is_declared() -> None:
    encoded = KeyCodec((str,)).encode("Oslo")
    assert read("by_shop", shop="Oslo") == (encoded, None)
    assert read("by_routed_shop", shop="Oslo") == (encoded, partition(b"Oslo"))
    assert read("by_shop_too", shop="Oslo", item="1")[1] == partition(b"Oslo")
    assert read("by_swapped", item="Oslo", shop="1")[1] != partition(b"1")


def test_dictionaries_are_asked_everywhere() -> None:
    assert read("pairs", key='["a", 1]') == (KeyCodec((tuple[str, int],)).encode(("a", 1)), None)
    assert read("raw", key="a") == (KeyCodec((bytes,)).encode(b"a"), None)


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ("by_item", {"itme": "7"}, "table 'by_item' has no key column 'itme'; did you mean 'item'?"),
        ("by_both", {"item": "7"}, "the key column 'day' is not given; give item and day"),
        ("by_item", {"item": "seven"}, "item='seven' is no key of table 'by_item'"),
        ("by_item", {"item": str(2**70)}, "is out of range|does not fit|too large|key"),
        ("by_day", {"day": "yesterday"}, "day='yesterday' is no key of table 'by_day'"),
        ("pairs", {"key": "["}, "is no key of table 'pairs'"),
        ("pairs", {"key": '["a", "b"]'}, "is no key of table 'pairs'"),
    ],
)
def test_a_wrong_key_is_told(table: str, key: dict[str, str], words: str) -> None:
    with pytest.raises(FlowsError, match=words.replace("?", r"\?")):
        read(table, **key)
