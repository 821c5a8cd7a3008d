"""The change hub: cheap where nobody listens, coalescing where a reader is slow, honest where it is too slow."""

from __future__ import annotations

import asyncio
import gc

import pytest

from flows.query.base import Change, ChangesMissed, key_contains
from flows.query.live import ChangeHub


def change(key: str, value: int | None) -> Change:
    return Change(key={"key": key}, row=None if value is None else {"key": key, "value": value})


async def test_a_reader_gets_what_is_published_after_it_subscribed() -> None:
    hub = ChangeHub()
    hub.publish("t", [change("before", 1)])
    reader = hub.subscribe("t")
    hub.publish("t", [change("a", 1)])
    hub.publish("other", [change("b", 1)])
    assert await anext(reader) == [change("a", 1)]


async def test_each_key_comes_once_with_its_latest_row_in_order_of_change() -> None:
    reader = (hub := ChangeHub()).subscribe("t")
    hub.publish("t", [change("a", 1), change("b", 1)])
    hub.publish("t", [change("a", 2), change("c", None)])
    assert await anext(reader) == [change("b", 1), change("a", 2), change("c", None)]


async def test_a_waiting_reader_is_woken() -> None:
    reader = (hub := ChangeHub()).subscribe("t")
    waiting = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    hub.publish("t", [])
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.publish("t", [change("a", 1)])
    assert await waiting == [change("a", 1)]


async def test_cancelling_a_wait_loses_nothing() -> None:
    reader = (hub := ChangeHub()).subscribe("t")
    waiting = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    hub.publish("t", [change("a", 1)])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await anext(reader) == [change("a", 1)]


async def test_past_the_bound_it_says_so_once_and_goes_on() -> None:
    reader = (hub := ChangeHub(bound=3)).subscribe("t")
    hub.publish("t", [change(str(n), n) for n in range(7)])
    hub.publish("t", [change("lost", 1)])
    with pytest.raises(ChangesMissed, match="more of 't' changed than is kept for a reader; read the table again"):
        await anext(reader)
    hub.publish("t", [change("a", 1)])
    assert await anext(reader) == [change("a", 1)]


async def test_few_keys_changing_for_ever_never_pass_the_bound() -> None:
    reader = (hub := ChangeHub(bound=3)).subscribe("t")
    for n in range(1000):
        hub.publish("t", [change("a", n), change("b", n)])
    assert await anext(reader) == [change("a", 999), change("b", 999)]


async def test_readers_do_not_share_what_they_missed() -> None:
    hub = ChangeHub(bound=3)
    quick, slow = hub.subscribe("t"), hub.subscribe("t")
    for start in (0, 5):
        hub.publish("t", [change(str(n), n) for n in range(start, start + 5)])
        assert len(await anext(quick)) == 5
    with pytest.raises(ChangesMissed):
        await anext(slow)


async def test_wanted_follows_the_readers() -> None:
    hub = ChangeHub()
    assert not hub.wanted("t")
    closed, dropped = hub.subscribe("t"), hub.subscribe("t")
    await closed.aclose()
    assert hub.wanted("t")
    assert not hub.wanted("other")
    del dropped
    gc.collect()
    assert not hub.wanted("t")


async def test_closing_ends_the_iteration_even_of_a_waiting_reader() -> None:
    hub = ChangeHub()
    reader = hub.subscribe("t")
    waiting = asyncio.create_task(_all(reader))
    hub.publish("t", [change("a", 1)])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hub.close()
    assert await waiting == [[change("a", 1)]]
    hub.publish("t", [change("b", 1)])
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


async def test_two_tasks_on_one_subscription_are_refused() -> None:
    reader = ChangeHub().subscribe("t")
    first = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="two readers share one subscription of 't'"):
        await anext(reader)
    first.cancel()


def test_a_key_is_searched_as_text_and_windows_are_no_keys() -> None:
    key = {"carrier": "UA", "flight": 1545, "raw": b"JFK", "window_start": 99.0}
    assert all(key_contains(key, text) for text in ("UA", "A", "54", "JF"))
    assert not any(key_contains(key, text) for text in ("ua", "99", "carrier"))


async def _all(reader: object) -> list[list[Change]]:
    return [changes async for changes in reader]  # type: ignore[attr-defined]
