"""Chunks: nothing lost, size respected, borders where a reader would put them, ids that cannot collide."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulk_inference.core import names
from bulk_inference.core.run_spec import Chunking
from bulk_inference.core.tokens import estimate
from bulk_inference.render.chunking import (
    MAX_CHUNKS,
    TooManyChunksError,
    chunk_key,
    chunks,
    size_of,
)

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
PIECES = [
    "a",
    "word",
    " ",
    "\n",
    "\n\n",
    "\r\n",
    ". ",
    "。",
    "ж",
    "語",
    "e\u0301",
    FAMILY,
    "\U0001f1e9\U0001f1ea",
    "\u200d",
    "\x00",
]

texts = st.one_of(st.text(max_size=400), st.lists(st.sampled_from(PIECES), max_size=200).map("".join))
cuttings = st.builds(
    lambda by, size, share: Chunking("text", by, size, int(size * share)),
    st.sampled_from(["characters", "tokens"]),
    st.integers(1, 60),
    st.floats(0, 0.5),
)


def pieces(text: str, how: Chunking) -> list[str]:
    return [text[one.start : one.end] for one in chunks(text, how)]


@given(texts, cuttings)
@example("\U0001f1e9\U0001f1ea" * 20, Chunking("text", "tokens", 3, 1))
@example("", Chunking("text", "characters", 10))
def test_new_parts_put_together_are_the_text(text: str, how: Chunking) -> None:
    cut = list(chunks(text, how))
    assert "".join(text[one.new : one.end] for one in cut) == text
    assert all(one.start <= one.new for one in cut)
    assert all(before.end == after.new for before, after in pairwise(cut))


@given(texts, cuttings)
def test_no_chunk_is_larger_than_its_size_and_none_repeats_more_than_its_overlap(text: str, how: Chunking) -> None:
    for one in chunks(text, how):
        assert size_of(text[one.start : one.end], how.by) <= how.size
        assert size_of(text[one.start : one.new], how.by) <= how.overlap


@given(texts, cuttings)
def test_the_number_of_chunks_is_bounded_by_the_text(text: str, how: Chunking) -> None:
    room = max(1, (how.size - how.overlap) // 2)
    assert len(list(chunks(text, how))) <= size_of(text, how.by) // room * 4 + 1


@given(texts, cuttings)
def test_equal_texts_make_equal_chunks(text: str, how: Chunking) -> None:
    assert list(chunks(text, how)) == list(chunks(text, how))


@given(st.text(max_size=300))
def test_tokens_are_estimated_as_plans_estimate_them(text: str) -> None:
    assert size_of(text, "tokens") == estimate(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two three.\n\nFour five six. Seven eight", ["One two three.\n\n", "Four five six. ", "Seven eight"]),
        ("One two three. Four five six seven\neight nine", ["One two three. ", "Four five six seven\n", "eight nine"]),
        ("aaaaaaaaaaaaaaaaaa bbbbbb cccccc", ["aaaaaaaaaaaaaaaaaa ", "bbbbbb cccccc"]),
        (
            "日本語の文章。次の文章もあります。終わりの文章です。",
            ["日本語の文章。次の文章もあります。", "終わりの文章です。"],
        ),
    ],
    ids=["paragraph, then sentence", "line", "word", "Japanese sentences"],
)
def test_borders(text: str, expected: list[str]) -> None:
    assert pieces(text, Chunking("text", "characters", 24)) == expected


@pytest.mark.parametrize(
    "cluster", ["e\u0301", FAMILY, "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u1112\u1161\u11ab", "\r\n"]
)
def test_what_reads_as_one_character_is_not_torn_apart(cluster: str) -> None:
    for size in (8, 9, 11, 13):
        for piece in pieces(cluster * 40, Chunking("text", "characters", size, 2)):
            assert re.fullmatch(f"(?:{cluster})+", piece)


def test_a_chunk_begins_with_whole_words_of_the_one_before() -> None:
    text = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
    first, second, *_ = pieces(text, Chunking("text", "characters", 24, 12))
    assert (first, second) == ("alpha beta gamma delta ", "gamma delta epsilon ")


def test_a_text_that_fits_is_one_chunk() -> None:
    assert pieces("x" * 100, Chunking("text", "characters", 100, 10)) == ["x" * 100]


def test_too_many_chunks_are_refused() -> None:
    how = Chunking("text", "characters", 1)
    assert len(list(chunks("x" * MAX_CHUNKS, how))) == MAX_CHUNKS
    with pytest.raises(TooManyChunksError):
        list(chunks("x" * (MAX_CHUNKS + 1), how))


def test_ids_tell_documents_texts_and_cuts_apart() -> None:
    how = Chunking("text", "characters", 100)
    keys = {
        chunk_key("a", "text", how),
        chunk_key("b", "text", how),
        chunk_key("a", "other", how),
        chunk_key("a", "text", Chunking("text", "characters", 101)),
    }
    assert len(keys) == 4
    key = chunk_key("a", "text", how)
    assert names.parse_chunk(names.chunk(key, MAX_CHUNKS)) == (key, MAX_CHUNKS)
    assert len(names.chunk(key, MAX_CHUNKS)) <= 64
    assert names.partition_of(key, 7) == names.partition_of(chunk_key("a", "other", how), 7)
