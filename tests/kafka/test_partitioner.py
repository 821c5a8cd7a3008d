"""The partitioner against the Java client's: its own vectors, and another implementation on many keys."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as theirs
from hypothesis import given
from hypothesis import strategies as st

from flows.route.partitioner import Partitioner, murmur2


@pytest.mark.parametrize(
    ("key", "hash_"),
    [
        # org.apache.kafka.common.utils.UtilsTest#testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_vectors_of_the_java_client(key: bytes, hash_: int) -> None:
    assert murmur2(key) == hash_ & 0xFFFFFFFF


@given(st.binary(max_size=64), st.integers(1, 300))
def test_any_key_goes_where_other_clients_send_it(key: bytes, partitions: int) -> None:
    assert Partitioner(partitions).of(key) == (theirs(key) & 0x7FFFFFFF) % partitions
