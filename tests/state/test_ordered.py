"""Rows in key order and sets of ranges, against a plain dict and a plain set."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.state.ordered import OrderedRows, RangeSet

KEYS = st.binary(max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.dictionaries(KEYS, st.binary(max_size=2), max_size=100)),
        st.tuples(st.just("remove"), st.lists(KEYS, max_size=100)),
        st.tuples(st.just("remove_range"), st.tuples(KEYS, KEYS)),
        st.tuples(st.just("between"), st.tuples(KEYS, st.none() | KEYS, st.booleans())),
        st.tuples(st.just("share"), st.none()),
    ),
    max_size=12,
)


@given(STEPS)
def test_rows_do_what_a_dict_does_and_views_stay(steps: list[tuple[str, Any]]) -> None:
    rows: OrderedRows[bytes] = OrderedRows()
    model: dict[bytes, bytes] = {}
    views: list[tuple[OrderedRows[bytes], dict[bytes, bytes]]] = []
    for name, given_ in steps:
        match name, given_:
            case "update", dict(changed):
                rows.update(changed)
                model.update(changed)
            case "remove", list(keys):
                rows.remove(keys)
                for key in keys:
                    model.pop(key, None)
            case "remove_range", (bytes(start), bytes(end)):
                rows.remove_range(start, end)
                model = {key: value for key, value in model.items() if not start <= key < end}
            case "between", (bytes(start), end, reverse):
                expected = sorted(
                    (row for row in model.items() if start <= row[0] and (end is None or row[0] < end)),
                    reverse=reverse,
                )
                assert rows.between(start, end, reverse=reverse) == expected
            case "share", None:
                views.append((rows.share(), dict(model)))
    assert rows.rows == model
    assert rows.between() == sorted(model.items())
    for view, expected_view in views:
        assert view.rows == expected_view
        assert view.between() == sorted(expected_view.items())


@given(st.lists(st.tuples(KEYS, KEYS)))
def test_a_range_set_covers_what_its_ranges_do(ranges: list[tuple[bytes, bytes]]) -> None:
    found = RangeSet(ranges)
    edges = {edge for pair in ranges for edge in pair} | {b"", b"\xff\xff\xff"}
    for key in edges | {edge + b"\x00" for edge in edges}:
        assert found.covers(key) == any(start <= key < end for start, end in ranges)
    flat = [edge for pair in found for edge in pair]
    assert flat == sorted(set(flat)), "disjoint, in order, and none touches the next"
