"""Topics and their records: what every broker keeps, in order, whole, and gives back."""

from __future__ import annotations

import pytest

from flows.brokers.base import Broker, Outgoing, TopicPartition, TopicSpec
from flows.errors import BrokerError, OffsetOutOfRange, RecordTooLarge, TopicMismatch, UnknownTopic
from flows.state.memory import MemoryStore
from flows.state.restore import restore
from tests.contracts.broker_fixtures import Topics, outgoing, read_all, values

LONG = 20.0  # seconds; a test that waits this long has failed


async def test_records_come_back_in_order_with_all_their_columns(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    out = Outgoing()
    out.append(b"a", b"1", 10)
    out.append(None, b"2", -5, (("h", b"x"), ("h", b"y")))
    out.append(b"c", None, 30)

    assert await broker.produce({tp: out}) == {tp: 3}
    (records,) = await read_all(broker, tp)

    assert list(records.offsets) == [0, 1, 2]
    assert list(records.keys) == [b"a", None, b"c"]
    assert list(records.values) == [b"1", b"2", None]
    assert list(records.timestamps) == [10, -5, 30]
    assert [tuple(map(tuple, h)) for h in records.headers or ()] == [(), (("h", b"x"), ("h", b"y")), ()]
    assert records.next_offset == 3
    assert records.tp == tp


async def test_many_small_appends_are_read_as_one_batch_with_offsets_without_gaps(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    for n in range(50):
        await broker.produce({tp: outgoing(n)})

    found = await read_all(broker, tp)

    assert values(found) == [b"%d" % n for n in range(50)]
    assert [o for records in found for o in records.offsets] == list(range(50))
    assert all(records.headers is None for records in found)


async def test_an_append_of_many_megabytes_comes_back_whole(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    sent = [b"%07d" % n * 1000 for n in range(700)]

    ends = await broker.produce({tp: Outgoing([None] * 700, list(sent), [0] * 700)})

    assert ends == {tp: 700}
    assert values(await read_all(broker, tp)) == sent


async def test_an_append_to_several_partitions_happens_in_all_or_none(broker: Broker, broker_topic: Topics):
    topic = await broker_topic(partitions=2)
    a, b, missing = TopicPartition(topic, 0), TopicPartition(topic, 1), TopicPartition(topic, 2)

    assert await broker.produce({a: outgoing(1), b: outgoing(1, 2)}) == {a: 1, b: 2}
    ends = await broker.end_offsets([a, b])  # at least that: Kafka's markers of transactions have offsets too
    with pytest.raises(BrokerError):
        await broker.produce({a: outgoing(2), missing: outgoing(2)})

    assert await broker.end_offsets([a, b]) == ends
    assert [values(await read_all(broker, tp)) for tp in (a, b)] == [[b"1"], [b"1", b"2"]]


async def test_a_record_that_is_too_large_is_refused_by_name_and_nothing_is_written(
    broker: Broker, broker_topic: Topics
):
    tp = TopicPartition(await broker_topic(), 0)
    fits, too_large = b"x" * (broker.max_record_bytes - 1), b"x" * broker.max_record_bytes

    with pytest.raises(RecordTooLarge, match=str(tp)):
        await broker.produce({tp: Outgoing([b"k", b"k"], [b"small", too_large], [0, 0])})
    assert (await broker.end_offsets([tp]))[tp] == 0

    await broker.produce({tp: Outgoing([b"k"], [fits], [0])})
    assert values(await read_all(broker, tp)) == [fits]


async def test_creating_a_topic_again_is_fine_and_with_other_settings_names_the_difference(
    broker: Broker, broker_topic: Topics
):
    name = await broker_topic(partitions=3, retention=3600)

    await broker.create_topic(TopicSpec(name=name, partitions=3, retention=3600))
    with pytest.raises(TopicMismatch, match=r"partitions is 3, wanted 4"):
        await broker.create_topic(TopicSpec(name=name, partitions=4, retention=3600))
    with pytest.raises(TopicMismatch, match=r"cleanup is 'delete', wanted 'compact'"):
        await broker.create_topic(TopicSpec(name=name, partitions=3, cleanup="compact"))

    assert (await broker.topics())[name].partitions == 3


async def test_a_topic_of_others_is_taken_as_it_is_but_for_its_partitions(broker: Broker, broker_topic: Topics):
    name = await broker_topic(partitions=3, cleanup="compact")

    await broker.create_topic(TopicSpec(name=name, partitions=3, retention=3600, any_retention=True))
    with pytest.raises(TopicMismatch, match=r"partitions is 3, wanted 4"):
        await broker.create_topic(TopicSpec(name=name, partitions=4, any_retention=True))

    assert (await broker.topics())[name].cleanup == "compact"


async def test_the_retention_of_a_topic_can_be_altered_and_nothing_else(broker: Broker, broker_topic: Topics):
    name, compacted = await broker_topic(retention=60), await broker_topic("compacted", cleanup="compact")
    wanted = TopicSpec(name=name, retention=3600)
    with pytest.raises(TopicMismatch, match=r"retention is 60(\.0)?, wanted 3600.*; `flows topics --apply` alters it"):
        await broker.create_topic(wanted)

    await broker.alter_retention(name, 3600)
    await broker.create_topic(wanted)
    assert (await broker.topics())[name].retention == 3600
    await broker.alter_retention(name, None)
    assert (await broker.topics())[name].retention is None

    with pytest.raises(UnknownTopic, match="'nowhere'"):
        await broker.alter_retention("nowhere", 1)
    with pytest.raises(BrokerError, match=f"'{compacted}' is compacted"):
        await broker.alter_retention(compacted, 60)


async def test_a_deleted_topic_is_gone_with_its_records(broker: Broker, broker_topic: Topics):
    name = await broker_topic()
    tp = TopicPartition(name, 0)
    await broker.produce({tp: outgoing(1, 2)})

    await broker.delete_topic(name)

    assert name not in await broker.topics()
    with pytest.raises(UnknownTopic, match=name):
        await broker.delete_topic(name)


async def test_unknown_topics_are_named(broker: Broker):
    tp = TopicPartition("nobody-made-this", 0)
    with pytest.raises(UnknownTopic, match="nobody-made-this"):
        await broker.end_offsets([tp])
    with pytest.raises(UnknownTopic, match="nobody-made-this"):
        await broker.produce({tp: outgoing(1)})


async def test_purged_records_are_gone_exactly_up_to_the_offset(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(), 0)
    await broker.produce({tp: outgoing(0, 1, 2, 3)})
    await broker.produce({tp: outgoing(4, 5, 6, 7)})

    await broker.purge({tp: 6})

    assert await broker.start_offsets([tp]) == {tp: 6}
    assert await broker.end_offsets([tp]) == {tp: 8}
    assert values(await read_all(broker, tp)) == [b"6", b"7"]
    with pytest.raises(OffsetOutOfRange) as raised:
        await broker.reader({tp: 5}).fetch(10, LONG)
    assert (raised.value.wanted, raised.value.start, raised.value.end) == (5, 6, 8)
    await broker.purge({tp: 2})
    assert await broker.start_offsets([tp]) == {tp: 6}


async def test_a_compacted_topic_refuses_a_record_without_a_key(broker: Broker, broker_topic: Topics):
    tp = TopicPartition(await broker_topic(cleanup="compact"), 0)

    with pytest.raises(BrokerError, match="key"):
        await broker.produce({tp: outgoing(1, key=None)})

    assert (await broker.end_offsets([tp]))[tp] == 0


async def test_a_topic_that_was_made_again_is_another(broker: Broker, broker_topic: Topics) -> None:
    name, other = await broker_topic(), await broker_topic()
    before = await broker.topic_ids([name, other, f"{name}-unknown"])
    assert sorted(before) == sorted([name, other])
    assert before[name] != before[other]
    assert await broker.topic_ids([name]) == {name: before[name]}
    await broker.delete_topic(name)
    assert await broker.topic_ids([name]) == {}
    await broker.create_topic(TopicSpec(name=name))
    after = await broker.topic_ids([name, other])
    assert after[name] != before[name]
    assert after[other] == before[other]


async def test_a_restore_knows_that_its_changelog_is_another(broker: Broker, broker_topic: Topics) -> None:
    """The new topic reaches as far as the stored position: only its id tells."""
    tp = TopicPartition(await broker_topic(cleanup="compact"), 0)
    store = MemoryStore()

    async def restored() -> dict[bytes, bytes]:
        await restore(store, broker, {"t": tp})
        return dict(store.scan("t"))

    await broker.produce({tp: Outgoing([b"a", b"b"], [b"1", b"1"], [0, 0])})
    assert await restored() == {b"a": b"1", b"b": b"1"}
    await broker.delete_topic(tp.topic)
    await broker.create_topic(TopicSpec(name=tp.topic, cleanup="compact"))
    await broker.produce({tp: Outgoing([b"c", b"a", b"d"], [b"2", b"2", b"2"], [0, 0, 0])})
    assert await restored() == {b"a": b"2", b"c": b"2", b"d": b"2"}
    await broker.produce({tp: Outgoing([b"a"], [b"3"], [0])})
    assert await restored() == {b"a": b"3", b"c": b"2", b"d": b"2"}
