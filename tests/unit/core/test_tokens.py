"""Token estimates."""

from bulk_inference.core.tokens import estimate, reserved


def test_estimate_counts_wide_characters_whole() -> None:
    assert (estimate(""), estimate("abcde"), estimate("日本語"), estimate("日本語abcd")) == (0, 2, 3, 4)


def test_a_request_reserves_its_max_tokens() -> None:
    assert reserved(100, 800, 1) == 900
    assert reserved(100, None, 1) > 1000
