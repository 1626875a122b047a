"""A long text to chunks: on the borders of paragraphs, else sentences, else lines, else words, with overlap.

No character is lost or changed: a chunk is a slice of the text, and the new parts of all chunks, one after the other,
are the text. A chunk ends in the second half of the room it has, so that their number is bounded by the text's length.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from bulk_inference.core import names
from bulk_inference.core.run_spec import Chunking
from bulk_inference.core.tokens import CHARACTERS_PER_TOKEN

CHARACTERS: Final = "characters"
TOKENS: Final = "tokens"
UNITS: Final = (CHARACTERS, TOKENS)

MAX_CHUNKS: Final = 9_999
"""Of one document: what four digits of a recordId hold."""

_PARAGRAPH: Final = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE: Final = re.compile(r"[.!?…][\"'”’»)\]]*\s+|[。！？][」』”’）]*\s*")
_LINE: Final = re.compile(r"\n")
_WORD: Final = re.compile(r"\s+")
_BORDERS: Final = (_PARAGRAPH, _SENTENCE, _LINE, _WORD)

_LONGEST_CLUSTER: Final = 64
"""Code points that are kept together at most: what is longer is no character that anybody reads."""

_LONGEST_FLAGS: Final = 1_000
"""Letters of flags in a row that are counted at most: a document of nothing else would be counted at every cut."""

_WIDE: Final = re.compile(r"[^\x00-\xff]")
"""Characters that count as a token each (tokens.py)."""

_JOINER: Final = "\u200d"
_MARKS: Final = frozenset({"Mn", "Mc", "Me"})


class TooManyChunksError(Exception):
    """A document makes more chunks than its recordIds can number; `size` is too small for it."""


class Chunk(NamedTuple):
    """One piece of a text."""

    start: int
    """Where it begins in the text, its overlap included."""
    new: int
    """Where begins what no earlier chunk holds."""
    end: int


def chunks(text: str, how: Chunking) -> Iterator[Chunk]:
    """Slices of `text` of at most `how.size` characters or estimated tokens; at least one, also of an empty text.

    Each repeats at most `how.overlap` of the one before. Raises TooManyChunksError.
    """
    measure = _Measure(text, how.by)
    start = new = 0
    for _ in range(MAX_CHUNKS):
        furthest = measure.forward(start, how.size)
        if furthest >= len(text):
            yield Chunk(start, new, len(text))
            return
        end = _last_border(text, new + max(1, (furthest - new) // 2), furthest)
        yield Chunk(start, new, end)
        start, new = _overlap(text, measure.backward(end, how.overlap), end), end
    raise TooManyChunksError


def chunk_key(document_id: str, text: str, how: Chunking) -> str:
    """What the recordIds of a document's chunks begin with: made of its id, and of its text and how that is cut.

    So two texts under one id, and one text cut in two ways, never share a chunk.
    """
    cut = f"{how.by}/{how.size}/{how.overlap}/{text}"
    return names.chunked_document(_hash(document_id), _hash(cut))


def size_of(text: str, by: str) -> int:
    """Characters or estimated tokens of a text."""
    if by == CHARACTERS:
        return len(text)
    wide = 0 if text.isascii() else len(_WIDE.findall(text))
    return wide - (-(len(text) - wide) // CHARACTERS_PER_TOKEN)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class _Measure:
    """How far a size reaches in a text. By tokens: a wide character is one, four others are one."""

    def __init__(self, text: str, by: str) -> None:
        self._text = text
        self._unit = 1 if by == CHARACTERS else CHARACTERS_PER_TOKEN
        self._even = by == CHARACTERS or text.isascii()

    def forward(self, start: int, size: int) -> int:
        """The furthest end of a slice that begins at `start` and is no larger than `size`."""
        most = start + size * self._unit
        if self._even:
            return most
        return start + self._fitting(self._text[start:most], size)

    def backward(self, end: int, size: int) -> int:
        """The earliest start of a slice that ends at `end` and is no larger than `size`."""
        least = max(0, end - size * self._unit)
        if self._even:
            return least
        return end - self._fitting(self._text[least:end][::-1], size)

    @staticmethod
    def _fitting(text: str, size: int) -> int:
        room = size * CHARACTERS_PER_TOKEN
        for match in _WIDE.finditer(text):
            if match.start() >= room:
                break
            # A wide character takes the room of four, one of which its own position has taken.
            room -= CHARACTERS_PER_TOKEN - 1
            if match.start() >= room:
                return match.start()
        return min(room, len(text))


def _last_border(text: str, low: int, high: int) -> int:
    """Where to end a chunk: the last paragraph's end in [low, high], else sentence's, line's, word's, else `high`."""
    for border in _BORDERS:
        found = 0
        for match in border.finditer(text, low - 1, high):
            if match.end() >= low and _whole(text, match.end()):
                found = match.end()
        if found:
            return found
    return _whole_before(text, low, high)


def _overlap(text: str, earliest: int, end: int) -> int:
    """Where to begin the next chunk: the first sentence of the overlap's first half, else its first word."""
    if earliest >= end:
        return end
    if earliest == 0:
        return 0
    for border, until in ((_SENTENCE, (earliest + end) // 2), (_WORD, end)):
        for match in border.finditer(text, earliest - 1, until):
            if earliest <= match.end() < end and _whole(text, match.end()):
                return match.end()
    at = earliest
    while at < end and not _whole(text, at):
        at += 1
    return at


def _whole_before(text: str, low: int, high: int) -> int:
    for at in range(high, max(low, high - _LONGEST_CLUSTER) - 1, -1):
        if _whole(text, at):
            return at
    return high


def _whole(text: str, at: int) -> bool:
    """Whether a text may be parted at `at` without tearing apart what a reader sees as one character.

    After https://unicode.org/reports/tr29/#Grapheme_Cluster_Boundaries, as far as Python's tables reach.
    """
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if before == "\r":
        return after != "\n"
    if after < "\u0300":
        return before != _JOINER
    if _JOINER in (before, after) or unicodedata.category(after) in _MARKS:
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False
    if "\u1160" <= after <= "\u11ff":
        return not ("\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3")
    if _is_flag_letter(after):
        letters = 0
        while letters < min(at, _LONGEST_FLAGS) and _is_flag_letter(text[at - 1 - letters]):
            letters += 1
        return letters % 2 == 0
    return True


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
