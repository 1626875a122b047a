"""Lines of byte ranges: whatever the cuts and blocks, the lines of the whole, each once."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulk_inference.corpus.disguises import HEAD_BYTES, disguise
from bulk_inference.corpus.jsonl_rows import BOM, first_byte, lines_of_range
from bulk_inference.corpus.rows import Row
from tests.worlds.corpus_world import BLOCKS, COLUMNS, CUT_BYTES, assert_all_rendered, cut, gzipped, jsonl, source, zstd

NO_LIMIT = 1 << 30

# Bytes that matter to the splitter are common in what is generated; the rest stands for any text.
contents = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"{}", BOM, b"\xc2\x85", b"\xe2\x80\xa8", b" ", b"long" * 9]),
    max_size=40,
).map(b"".join)


def chunks_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, start: int, end: int, *, block: int = 7, limit: int = NO_LIMIT) -> list[Row]:
    return list(lines_of_range(chunks_of(data[first_byte(start) :], block), start, end, limit))


def expected(data: bytes) -> list[bytes]:
    """By bytes.split, the other way to say it: LF ends a line, one CR before it goes, a mark at the start goes."""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if lines and lines[0].startswith(BOM):
        lines[0] = lines[0][len(BOM) :]
    return [line.removesuffix(b"\r") for line in lines]


@given(contents, st.lists(st.integers(0, 400), max_size=6), st.integers(1, 50))
@example(b"a\nb", [2], 1)
@example(b"\n\n\n", [1, 2], 1)
@example(b"aaaaaaaaaa\nb\n", [2, 4, 6], 3)
def test_any_cuts_give_exactly_the_lines_of_the_whole(data: bytes, borders: list[int], block: int) -> None:
    cuts = sorted({0, len(data), *(border for border in borders if border < len(data))})
    pieces = [line for start, end in pairwise(cuts) for line in read(data, start, end, block=block)]
    assert [line.data for line in pieces] == expected(data)


@given(contents, st.integers(1, 50))
def test_offset_and_length_find_the_line_in_the_object(data: bytes, block: int) -> None:
    for line in read(data, 0, len(data), block=block):
        assert data[line.offset : line.offset + line.length] == line.data


@given(contents, st.integers(1, 50), st.integers(1, 20))
def test_a_line_over_the_limit_is_skipped_and_its_neighbours_are_whole(data: bytes, block: int, limit: int) -> None:
    found = read(data, 0, len(data), block=block, limit=limit)
    raw = data.split(b"\n")
    assert [line.data is None for line in found] == [len(one) > limit for one in raw[: len(found)]]
    assert [line.data for line in found if line.data is not None] == [
        one for one, whole in zip(expected(data), raw, strict=False) if len(whole) <= limit
    ]


def test_lines_are_numbered_from_one_in_each_range() -> None:
    assert [line.number for line in read(b"a\nb\nc\n", 2, 6)] == [1, 2]


def test_only_lf_ends_a_line() -> None:
    text = "one\u2028still one\u0085still one\x0bstill\x1cone\rone\ntwo".encode()
    assert [line.data for line in read(text, 0, len(text))] == text.split(b"\n")


def test_a_range_reads_no_further_than_its_last_line() -> None:
    seen: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number, block in enumerate((b"a\nb\n", b"c\nd\n", b"e\n")):
            seen.append(number)
            yield block

    assert [line.data for line in lines_of_range(blocks(), 0, 4, NO_LIMIT)] == [b"a", b"b"]
    assert seen == [0]


def test_a_range_inside_one_long_line_stops_at_its_end() -> None:
    taken = 0

    def blocks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 10
            yield b"x" * 10

    assert list(lines_of_range(blocks(), 50, 100, NO_LIMIT)) == []
    assert taken < 100


def test_a_byte_order_mark_counts_only_at_the_start_of_the_object() -> None:
    data = BOM + b"a\n" + BOM + b"b\n"
    assert [line.data for line in read(data, 0, len(data))] == [b"a", BOM + b"b"]


def test_a_skipped_line_is_not_kept_in_memory() -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 1_000_000
        yield b"\nafter\n"

    tracemalloc.start()
    lines = list(lines_of_range(endless(), 0, NO_LIMIT, 1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(line.length, line.data) for line in lines] == [(64_000_000, None), (5, b"after")]
    assert peak < 8_000_000


@settings(deadline=None)
@given(COLUMNS, CUT_BYTES, BLOCKS)
def test_jsonl_whatever_the_cuts(texts: list[str], cut_bytes: int, block: int) -> None:
    body = jsonl(*({"id": f"r{n}", "text": text} for n, text in enumerate(texts)))
    assert_all_rendered(cut({"a.jsonl": body}, cut_bytes=cut_bytes, block=block), texts)
    assert_all_rendered(cut({"a.jsonl.gz": gzipped(body)}, cut_bytes=cut_bytes, block=block), texts)
    assert_all_rendered(cut({"a.ndjson.zst": zstd(body)}, cut_bytes=cut_bytes, block=block), texts)


@settings(deadline=None)
@given(st.binary(max_size=300), BLOCKS)
def test_any_bytes_as_jsonl_are_accounted_for(body: bytes, block: int) -> None:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or disguise(body[:HEAD_BYTES], "jsonl"):
        return
    found = cut({"a.jsonl": body}, source(), cut_bytes=20, block=block)
    lines = [line for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    assert found.total("read") == len(lines)
    assert found.total("read") == found.total("accepted") + found.total("rejected") + found.total("duplicate")
