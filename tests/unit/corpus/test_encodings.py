"""Texts that are not UTF-8."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds.corpus_world import BLOCKS, COLUMNS, assert_all_rendered, cut, source


@settings(deadline=None)
@given(COLUMNS, st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"]), BLOCKS)
def test_jsonl_in_other_encodings(texts: list[str], encoding: str, block: int) -> None:
    text = "".join(json.dumps({"id": f"r{n}", "text": text}, ensure_ascii=False) + "\n" for n, text in enumerate(texts))
    found = cut({"a.jsonl": text.encode(encoding)}, source(encoding=encoding), block=block, cut_bytes=50)
    assert_all_rendered(found, texts)
