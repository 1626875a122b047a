"""Pointers: there and back, and the record that lies where they point."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.index_line import Pointer, StrayPointerError, fetch
from bulk_inference.core.keys import Places

PLACES = Places("t", "r")
LINE = json.dumps({"recordId": "a", "modelInput": {"x": 1}}).encode()


def test_an_index_line_survives_the_round_trip() -> None:
    line = {
        "recordId": "a", "shard": "00001-001", "offset": 0, "length": 9, "id": "A b", "sequence": 0,
        "source": {"key": "k", "offset": 0, "length": 1},
    }  # fmt: skip
    assert Pointer.from_json(line).to_json() == line


def read(objects: dict[str, bytes], pointer: Pointer) -> Any:
    def get(key: str, offset: int, length: int) -> bytes:
        return objects[key][offset : offset + length]

    return fetch(pointer, PLACES, get, get)


def test_the_record_is_read_from_its_piece_or_its_parking_place() -> None:
    objects = {PLACES.shard("p"): b"xx" + LINE + b"\n", PLACES.parked("p"): LINE, "elsewhere": LINE}
    assert read(objects, Pointer("a", "p", 2, len(LINE))) == {"x": 1}
    assert read(objects, Pointer("a", None, 0, len(LINE), parked=PLACES.parked("p"))) == {"x": 1}
    assert read({}, Pointer("a", body={"x": 2})) == {"x": 2}


def test_another_record_in_its_place_is_noticed() -> None:
    with pytest.raises(ValueError, match="another record"):
        read({PLACES.shard("p"): LINE}, Pointer("b", "p", 0, len(LINE)))


@pytest.mark.parametrize(
    "pointer",
    [
        Pointer("a", None, 0, len(LINE), parked="other/runs/r/results/part-1.jsonl"),
        Pointer("a", None, 0, len(LINE), parked="t/runs/r2/parked/part-1.jsonl"),
        Pointer("a", None, 0, len(LINE), parked="t/runs/r/results/part-1.jsonl"),
        Pointer("a", "../../../other/corpus/x", 0, len(LINE)),
        Pointer("a", "", 0, len(LINE)),
        Pointer("a", None, 0, len(LINE)),
    ],
)
def test_a_pointer_out_of_its_run_is_not_followed(pointer: Pointer) -> None:
    """Whoever wrote it, nothing is read: the functions' roles would allow it."""

    def never(key: str, offset: int, length: int) -> bytes:
        raise AssertionError(f"{key} was read")

    with pytest.raises(StrayPointerError):
        fetch(pointer, PLACES, never, never)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["recordId", "modelInput", "offset", "length", "shard"]), inner)
        ),
    )
)
def test_any_line_of_a_ready_corpus_is_some_record(line: Any) -> None:
    """One malformed line costs one record: it has an id, and at worst an empty body that the model refuses."""
    for pointer in (Pointer.from_json(line), Pointer.of_item(line)):
        assert pointer.record_id


def test_a_line_of_a_ready_corpus_names_no_place_and_has_an_id_that_the_ledger_takes() -> None:
    record = {"recordId": "p", "modelInput": {"x": 1}, "offset": 3, "length": 7, "shard": "00001-001"}
    assert Pointer.of_item(record) == Pointer("p", body={"x": 1})
    elsewhere = {"recordId": "p", "parked": "other/runs/r/parked/part-x.jsonl", "offset": 0, "length": 9}
    assert Pointer.of_item(elsewhere) == Pointer("p", body={})
    assert Pointer.of_item({**elsewhere, "shard": "../x"}).body == {}
    long = Pointer.of_item({"recordId": "i" * 3000, "modelInput": {}})
    assert (len(long.record_id) < 100, long.caller_id) == (True, "i" * 3000)
