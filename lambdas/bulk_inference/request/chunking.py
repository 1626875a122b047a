"""Section `chunking` of a request: how a long document becomes several records."""

from typing import Final

from bulk_inference.core.run_spec import Chunking, Prompt
from bulk_inference.render.chunking import CHARACTERS, TOKENS, UNITS
from bulk_inference.render.rendering import Template
from bulk_inference.request.fields import Fields

_KEYS = ("field", "by", "size", "overlap")

SIZES: Final = {CHARACTERS: (50, 4_000_000), TOKENS: (20, 1_000_000)}
"""Inclusive."""


def parse_chunking(request: Fields, prompt: Prompt) -> Chunking | None:
    given = request.section("chunking", _KEYS)
    if "chunking" not in request:
        return None
    field = given.text("field")
    if field is None and "field" not in given:
        given.problem("field", "missing: the field of a row that holds the document's text")
    by = given.choice("by", UNITS) or CHARACTERS
    low, high = SIZES[by]
    size = given.whole("size", low, high)
    if "size" not in given:
        given.problem("size", f"missing: {by} of a chunk, its overlap included")
    overlap = given.whole("overlap", 0, high) or 0
    if size is not None and overlap * 2 > size:
        given.problem("overlap", f"must be at most half of chunking.size, {size // 2}")
    named = [name for text in (prompt.template, prompt.system) if text for name in Template(text).fields]
    if "chunk" not in named:
        given.problem("", "needs a prompt.template that names {{chunk}}, the piece of the document")
    if field in named:
        given.problem("field", f"prompt names {{{{{field}}}}}, which is the whole document: name {{{{chunk}}}}")
    return Chunking(field or "", by, size or low, overlap)
