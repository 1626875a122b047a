"""Which keys a pattern takes."""

import pytest

from tests.worlds.corpus_world import PREFIX, cut, jsonl, source


@pytest.mark.parametrize(
    ("glob", "matches"),
    [
        ("*.jsonl", "a.jsonl"),
        ("**.jsonl", "a.jsonl d/b.jsonl d/e/c.jsonl"),
        ("**/*.jsonl", "a.jsonl d/b.jsonl d/e/c.jsonl"),
        ("d/*", "d/b.jsonl"),
        ("d/?.jsonl", "d/b.jsonl"),
        ("[!ab].jsonl", ""),
        ("**/[bc].jsonl", "d/b.jsonl d/e/c.jsonl"),
        ("d/*.jsonl", "d/b.jsonl"),
    ],
)
def test_globs(glob: str, matches: str) -> None:
    names = ["a.jsonl", "d/b.jsonl", "d/e/c.jsonl"]
    objects = {name: jsonl({"id": name, "text": name}) for name in names}
    assert cut(objects, source(glob=PREFIX + glob, allow_empty=True)).texts == matches.split()
