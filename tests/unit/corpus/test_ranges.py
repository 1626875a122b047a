"""How objects are cut into ranges, and how single rows are named again."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_inference.core.errors import InvalidRequestError
from bulk_inference.corpus.ranges import CutRange, cut_line, pack_ranges, select
from tests.worlds.corpus_world import PREFIX, MemoryBucket, cut, cut_bucket, gzipped


def test_what_only_one_worker_can_read_is_said_and_bounded() -> None:
    objects = {"a.csv": b"id,text\n1,x\n", "b.csv.gz": gzipped(b"id,text\n2,y\n")}
    notes = " / ".join(cut(objects, cut_bytes=5).notes)
    assert "1 csv object is read by one worker each: where a row of CSV begins" in notes
    assert "1 gzip csv object is read by one worker each: gzip cannot be read from its middle" in notes

    class Huge(MemoryBucket):
        def _stored(self, key: str) -> Any:
            stored = super()._stored(key)
            return type(stored)(stored.key, 5 * 1024**3, stored.etag)

    with pytest.raises(InvalidRequestError, match=r"a\.csv has 5368709120 bytes.*quoted_newlines"):
        cut_bucket(Huge({PREFIX + "a.csv": objects["a.csv"]}))
    with pytest.raises(InvalidRequestError, match=r"b\.csv\.gz has 5368709120 bytes.*uncompressed"):
        cut_bucket(Huge({PREFIX + "b.csv.gz": objects["b.csv.gz"]}))


@settings(deadline=None)
@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 20_000)), min_size=1), st.booleans())
def test_selected_rows_are_all_named(places: set[tuple[int, int]], grouped: bool) -> None:
    whole = CutRange("k" * 1024, 0, 10**10, 10**10, "e" * 32)
    rows_of: list[tuple[int, ...]] = sorted(places if grouped else {(number,) for _, number in places})
    parts = list(select(whole, rows_of))
    named = [(*before, n) for part in parts for *before, first, last in part.rows or () for n in range(first, last + 1)]
    assert named == rows_of


def test_as_many_rows_as_possible_make_cuts_that_state_inputs_hold() -> None:
    whole = CutRange("k" * 1024, 0, 10**10, 10**10, "e" * 32)
    scattered = [(n // 10_000, n % 10_000 * 2) for n in range(30_000)]
    cuts = list(pack_ranges(select(whole, scattered), 256 * 1024**2))
    assert len(cuts) == 15
    assert all(len(json.dumps(json.loads(cut_line(one)))) < 200_000 for one in cuts)
