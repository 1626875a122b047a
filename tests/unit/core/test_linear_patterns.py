"""Patterns from outside: they mean what `re` means, and no text takes more than its length."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_inference.core.linear_patterns import MAX_STATES, PatternError, linear

ATOMS = st.sampled_from(
    ["a", "b", "1", " ", "é", ".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[ab]", "[^a]", "[a-c1]", r"[\d_]",
     r"[^\w]", r"\b", r"\B", "^", "$", "", r"\.", "_"]
)  # fmt: skip
QUANTIFIERS = st.sampled_from(["", "*", "+", "?", "{2}", "{1,2}", "{,2}", "{1,}", "*?", "+?", "??"])


def quantified(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda one, often: f"(?:{one}){often}", inner, QUANTIFIERS)


PATTERNS = st.recursive(
    ATOMS,
    lambda inner: (
        quantified(inner)
        | st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map(lambda found: f"({'|'.join(found)})")
    ),
    max_leaves=6,
)


# Of the empty text alone, versions of Python differ in \\B.
@given(PATTERNS, st.text("ab1 é_.c\n", min_size=1, max_size=8))
def test_a_pattern_means_what_re_means(pattern: str, text: str) -> None:
    meant = re.compile(re.sub(r"\$", r"\\Z", pattern))
    assert linear(pattern).search(text) == bool(meant.search(text))
    assert linear(pattern).fullmatch(text) == bool(meant.fullmatch(text))


@pytest.mark.parametrize(
    "pattern",
    ["^((a+)+b|[b-z]+)$", "^(a|a)*$", "(a*)*b", r"^(\w+\s?)*$", "a+b", ".*.*.*x", "^(.|a)*$", "(a?){40}a{40}$"],
)
def test_no_text_takes_more_steps_than_its_length_times_the_patterns_states(pattern: str) -> None:
    compiled, steps = linear(pattern), 0

    def count(more: int) -> None:
        nonlocal steps
        steps += more

    compiled.search("a" * 20_000 + "!", count)
    assert steps < 2 * 20_000 + 200 * len(compiled._nodes)


def test_a_step_is_counted_before_it_is_remembered() -> None:
    def stop(steps: int) -> None:
        raise OverflowError

    with pytest.raises(OverflowError):
        linear("a+").search("b", stop)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"(a)\1", "a back reference"),
        ("(?=a)", "look-ahead"),
        ("(?<!a)b", "look-ahead or look-behind"),
        ("(?i)a", "flags"),
        ("(?i:a)", "flags"),
        ("(?>a)", "an atomic group"),
        ("a++", "a possessive"),
        ("(a)?(?(1)b|c)", "a condition"),
        ("(", "no regular expression"),
        ("[", "no regular expression"),
        (f"a{{{MAX_STATES + 1}}}", "repeats more than"),
        ("(((a{1,50}){1,50}){1,50}){1,50}", "has more than"),
        ("(" * 5_000 + ")" * 5_000, ""),
        ("a{99999999999999999999}", ""),
    ],
)
def test_what_cannot_be_bounded_is_refused_by_name(pattern: str, said: str) -> None:
    with pytest.raises(PatternError) as told:
        linear(pattern)
    assert said in str(told.value)


def test_what_was_remembered_is_forgotten_when_it_is_much() -> None:
    compiled = linear("^[a-z]*$")
    assert not compiled.search("".join(map(chr, range(0x4E00, 0x4E00 + 20_000))))
    assert len(compiled._known) <= 20_000
