"""From the bytes of a fetch to columns, without a broker: cuts, holes, markers, transactions that left but a marker."""

from __future__ import annotations

import struct

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from flows.brokers.base import TopicPartition
from flows.brokers.kafka.decode import Aborted, decode, join

TP = TopicPartition("topic", 0)
_CONTROL = 0x20
_COMMIT, _ABORT = b"\0\0\0\1", b"\0\0\0\0"


def _batch(base: int, values: list[bytes], producer: int = -1, *, control: bool = False, key: bytes = b"k") -> bytes:
    """Build a batch as a broker stores it; of a producer it is transactional."""
    builder = DefaultRecordBatchBuilder(2, 0, int(producer >= 0), producer, 0, 0, 1 << 30)
    for n, value in enumerate(values):
        builder.append(n, base + n, key, value, [])
    data = bytearray(builder.build())
    data[0:8] = struct.pack(">q", base)
    if control:
        data[22] |= _CONTROL
    data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    return bytes(data)


def _marker(base: int, producer: int, key: bytes) -> bytes:
    return _batch(base, [b""], producer, control=True, key=key)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=4), st.data())
def test_records_of_any_number_of_batches_from_any_position(sizes: list[int], data: st.DataObject) -> None:
    total = sum(sizes)
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    raw = b"".join(
        _batch(start, [b"%d" % n for n in range(start, start + size)])
        for start, size in zip(starts, sizes, strict=True)
    )
    position = data.draw(st.integers(0, total))

    chunk = decode(TP, raw, position, [])

    assert chunk.next_offset == total
    wanted = range(position, total)
    if not wanted:
        assert chunk.records is None
        return
    assert chunk.records is not None
    assert chunk.records.offsets == wanted
    assert chunk.records.values == [b"%d" % n for n in wanted]
    assert chunk.records.timestamps == list(wanted)
    cut = data.draw(st.integers(1, len(wanted)))
    head, tail = chunk.records.split(cut)
    whole = join([head] if tail is None else [head, tail])
    assert whole.values == chunk.records.values
    assert list(whole.offsets) == list(wanted)


def test_a_marker_alone_is_no_record_but_moves_the_position() -> None:
    chunk = decode(TP, _marker(7, 1, _COMMIT), 7, [])

    assert (chunk.records, chunk.next_offset) == (None, 8)


def test_an_aborted_transaction_is_left_out_and_the_next_of_its_producer_is_not() -> None:
    raw = _batch(0, [b"a", b"b"], 1) + _batch(2, [b"c"], 2) + _marker(3, 1, _ABORT) + _batch(4, [b"d"], 1)

    chunk = decode(TP, raw, 0, [Aborted(1, 0)])

    assert chunk.records is not None
    assert (chunk.records.values, list(chunk.records.offsets)) == ([b"c", b"d"], [2, 4])


def test_an_aborted_transaction_of_which_only_the_marker_is_left_takes_nothing_with_it() -> None:
    """Compaction removes the records of an aborted transaction before its marker."""
    raw = _marker(3, 1, _ABORT) + _batch(4, [b"d"], 1)

    chunk = decode(TP, raw, 0, [Aborted(1, 0)])

    assert chunk.records is not None
    assert chunk.records.values == [b"d"]


def test_a_batch_that_is_cut_off_waits_for_the_next_fetch() -> None:
    whole, cut = _batch(0, [b"a"]), _batch(1, [b"b"])

    chunk = decode(TP, whole + cut[:-1], 0, [])

    assert chunk.next_offset == 1


def test_a_wrong_checksum_is_told() -> None:
    damaged = bytearray(_batch(0, [b"value"]))
    damaged[-3] ^= 1

    with pytest.raises(CorruptRecordException, match="topic/0: the batch at offset 0"):
        decode(TP, bytes(damaged), 0, [])
