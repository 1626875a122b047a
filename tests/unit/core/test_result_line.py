"""Output lines of jobs, whatever is in them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.index_line import Pointer
from bulk_inference.core.result_line import Usage, extract, parse, result_line, split


def test_lines_end_at_newline_bytes_only() -> None:
    """U+2028 and U+0085 stand unescaped in real outputs; str.splitlines would cut there."""
    line = json.dumps({"recordId": "a", "modelOutput": {"t": "one\u2028two\u0085three"}}, ensure_ascii=False).encode()
    assert [raw for raw, _ in split([line + b"\n" + line])] == [line, line]


@given(st.lists(st.binary(max_size=20)), st.integers(0, 5))
def test_splitting_loses_no_byte_wherever_the_chunks_end(chunks: list[bytes], start: int) -> None:
    body = b"".join(chunks)
    lines = list(split(chunks, start))
    assert b"\n".join(raw for raw, _ in lines) == body.removesuffix(b"\n") or body in (b"", b"\n")
    for raw, end in lines:
        at = end - start
        assert body[:at].removesuffix(b"\n").endswith(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"recordId": "a", "modelOutput": {"text": "cut o',
        b"",
        b"[1]",
        b"null",
        b'{"modelOutput": {}}',
        b'{"recordId": 7, "modelOutput": {}}',
        b'{"recordId": "a", "modelOutput": null}',
        b'{"recordId": "a"}',
        b'{"recordId": "a", "modelOutput": {"x": NaN}}',
        b'\xff\xfe{"recordId": "a"}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_says_nothing_of_a_record_is_undecodable(raw: bytes) -> None:
    assert parse(raw) is None


def test_success_error_nulls_and_unknown_keys() -> None:
    ok = parse(b'\xef\xbb\xbf{"recordId":"a","modelInput":{},"modelOutput":{"x":1},"error":null,"new":1}\r')
    assert ok is not None
    assert (ok.record_id, ok.output, ok.failed) == ("a", {"x": 1}, False)
    bad = parse(b'{"recordId":"a","modelOutput":null,"error":{"errorCode":400,"errorMessage":"no","extra":null}}')
    assert bad is not None
    assert (bad.failed, bad.error_code, bad.error_message) == (True, "400", "no")
    bare = parse(b'{"recordId":"a","error":{"errorCode":null}}')
    assert bare is not None
    assert (bare.failed, bare.error_code, bare.error_message) == (True, "", "")


# Shapes as the model pages document them:
# https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html and API_runtime_Converse.html.
SHAPES: list[tuple[str, Any, str | None, Usage]] = [
    (
        "converse with explicit nulls",
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "a", "image": None}, {"text": None}]}},
            "usage": {"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": None},
        },
        "a",
        Usage(3, 2),
    ),
    (
        "claude",
        {
            "content": [
                {"type": "thinking", "thinking": "…"},
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
            ],
            "usage": {"input_tokens": 5, "output_tokens": 1},
        },
        "ab",
        Usage(5, 1),
    ),
    ("titan text", {"inputTextTokenCount": 4, "results": [{"tokenCount": 2, "outputText": "t"}]}, "t", Usage(4, 2)),
    ("titan embedding", {"embedding": [0.1], "inputTextTokenCount": 4}, None, Usage(4, 0)),
    ("llama", {"generation": "g", "prompt_token_count": 1, "generation_token_count": 2}, "g", Usage(1, 2)),
    ("mistral", {"outputs": [{"text": "m"}]}, "m", Usage(unknown=1)),
    (
        "openai",
        {"choices": [{"message": {"content": "o"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        "o",
        Usage(1, 2),
    ),
    (
        "converse with a prompt cache",
        {
            "output": {"message": {"content": [{"text": "a"}]}},
            "usage": {"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": 7, "cacheWriteInputTokens": 1},
        },
        "a",
        Usage(3, 2, 7, 1),
    ),
    (
        "nova with a prompt cache",
        {
            "output": {"message": {"content": [{"text": "a"}]}},
            "usage": {
                "inputTokens": 3,
                "outputTokens": 2,
                "cacheReadInputTokenCount": 7,
                "cacheWriteInputTokenCount": 0,
            },
        },
        "a",
        Usage(3, 2, 7),
    ),
    (
        "claude with a prompt cache",
        {
            "content": [{"type": "text", "text": "a"}],
            "usage": {
                "input_tokens": 5,
                "output_tokens": 1,
                "cache_read_input_tokens": 2,
                "cache_creation_input_tokens": 9,
            },
        },
        "a",
        Usage(5, 1, 2, 9),
    ),
    (
        "openai that reasons",
        {
            "choices": [{"message": {"content": "o"}}],
            "usage": {
                "prompt_tokens": 1,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 15},
            },
        },
        "o",
        Usage(1, 20, 4, 0, 15),
    ),
    ("nova embedding", {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.1]}]}, None, Usage(unknown=1)),
    ("usage without numbers", {"usage": {"inputTokens": None}, "content": [{"text": "a"}]}, "a", Usage(unknown=1)),
    ("nothing known", {"x": 1}, None, Usage(unknown=1, no_text=1)),
    (
        "nulls all over",
        {"output": None, "content": None, "usage": None, "results": None},
        None,
        Usage(unknown=1, no_text=1),
    ),
    ("no object", [0.5], None, Usage(unknown=1, no_text=1)),
]


@pytest.mark.parametrize(("output", "text", "usage"), [shape[1:] for shape in SHAPES], ids=[s[0] for s in SHAPES])
def test_text_and_tokens_of_every_family(output: Any, text: str | None, usage: Usage) -> None:
    assert extract(output) == (text, usage)


def test_a_result_line_carries_the_callers_id_sequence_and_source() -> None:
    pointer = Pointer(
        "id-1", "p", 0, 5, original_id="Ticket 1", sequence=7, source={"key": "k", "offset": 1, "length": 2}
    )
    raw, usage = result_line(pointer, {"content": [{"text": "é"}]}, "corpus")
    assert raw.endswith(b"\n")
    assert json.loads(raw) == {
        "recordId": "Ticket 1",
        "modelOutput": {"content": [{"text": "é"}]},
        "text": "é",
        "usage": {"inputTokens": 0, "outputTokens": 0},
        "sequence": 7,
        "source": {"bucket": "corpus", "key": "k", "offset": 1, "length": 2},
    }
    assert usage == Usage(unknown=1)


def test_half_a_surrogate_pair_does_not_stop_the_line() -> None:
    raw, _ = result_line(Pointer("a"), {"generation": "\ud83d"}, "b")
    assert json.loads(raw)["text"] == "\ud83d"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["output", "message", "content", "text", "usage", "results", "choices", "inputTokens"]),
                inner,
            )
        ),
    )
)
def test_no_answer_of_a_model_makes_extraction_fail(output: Any) -> None:
    text, usage = extract(output)
    assert text is None or isinstance(text, str)
    assert isinstance(usage.input_tokens, int)
