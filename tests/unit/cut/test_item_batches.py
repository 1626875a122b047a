"""Item batches of our own: every line of an index is in one of them, whoever cuts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.cut.item_batches import ItemBatch, cut


@given(st.lists(st.integers(2, 400), max_size=80), st.integers(1, 20), st.integers(1, 1000))
def test_each_line_is_in_one_batch_and_each_batch_within_its_bounds(lengths: list[int], items: int, size: int) -> None:
    found = list(cut("00001-001", lengths, items=items, size=size))
    assert sum(one.records for one in found) == len(lengths)
    at, rest = 0, list(lengths)
    for one in found:
        mine, rest = rest[: one.records], rest[one.records :]
        assert (one.offset, one.length) == (at, sum(mine))
        assert 0 < one.records <= items
        assert one.length <= size or one.records == 1
        at += one.length
    assert len({one.batch for one in found}) == len(found)
    assert list(cut("00001-001", lengths, items=items, size=size)) == found


def test_a_batch_reads_its_own_lines_and_no_others() -> None:
    index = [json.dumps({"recordId": f"r{number}"}).encode() + b"\n" for number in range(5)]
    whole = b"".join(index)
    ids = []
    for one in cut("p", map(len, index), items=2, size=10**6):
        given = ItemBatch.from_items([json.loads(one.line())])
        assert given == one
        ids.append([line["recordId"] for line in one.items(whole[one.offset : one.offset + one.length])])
    assert ids == [["r0", "r1"], ["r2", "r3"], ["r4"]]


@pytest.mark.parametrize("raw", [b"", b'{"recordId":"a"}', b'{"recordId":"a"}\n{}\n', b'ecordId":"a"}\n{"r"\n'])
def test_bytes_that_are_not_the_batch_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="does not hold batch"):
        ItemBatch("p-00001", "p", 0, 17, 1).items(raw)


@pytest.mark.parametrize("items", [[], [{"recordId": "a"}], ["text"], [{"batch": "a", "index": "p"}] * 2])
def test_records_and_pointers_are_no_slice(items: list[object]) -> None:
    assert ItemBatch.from_items(items) is None


@pytest.mark.parametrize(
    ("items", "size", "records"), [(2, 20, [2]), (2, 19, [1, 1]), (1, 20, [1, 1]), (9, 10, [1, 1]), (9, 9, [1, 1])]
)
def test_a_batch_is_as_large_as_its_bounds_and_no_larger(items: int, size: int, records: list[int]) -> None:
    assert [one.records for one in cut("p", [10, 10], items=items, size=size)] == records
