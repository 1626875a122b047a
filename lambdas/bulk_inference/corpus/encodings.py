"""Character encodings of corpus objects: which are known, where their lines end, how their bytes become text.

A row whose bytes are no text in the object's encoding is refused, and its neighbours are not: lines are found in the
bytes, before anything is decoded. That works for every encoding here, because no part of another character looks like
the end of a line in it.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from bulk_inference.corpus.rows import UNDECODABLE, RejectedLineError

UTF_8: Final = "utf-8"

_SINGLE: Final = re.compile(
    r"utf-8|ascii|iso8859-\d+|cp(?:125[0-8]|437|72[0-9]|737|775|8[56]\d|874)|koi8-[rtu]|mac-\w+|tis-620"
    r"|shift_jis|cp932|euc_jp|euc_kr|cp949|gbk|gb2312|gb18030|big5|big5hkscs|cp950"
)
"""Python's names of encodings in which the byte 0x0A is a line feed and nothing else."""

_WIDE: Final = {"utf-16": 2, "utf-16-le": 2, "utf-16-be": 2, "utf-32": 4, "utf-32-le": 4, "utf-32-be": 4}
"""Bytes of a unit."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    # Before UTF-16, of whose mark it is a longer one.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
HEAD: Final = 4
"""Bytes of the longest byte order mark."""


def canonical(name: str) -> str | None:
    """Python's name of an encoding that can be read here; None if it cannot."""
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return None
    if found == "utf-8-sig":
        return UTF_8
    return found if found in _WIDE or _SINGLE.fullmatch(found) else None


def unit_of(encoding: str | None) -> int:
    """Bytes of the smallest unit; 1 means that an object can be cut at any line feed."""
    return _WIDE.get(encoding or UTF_8, 1)


class Charset(NamedTuple):
    """The encoding of one object."""

    codec: str
    unit: int
    mark: int
    """Bytes of its byte order mark."""

    @property
    def newline(self) -> bytes:
        return "\n".encode(self.codec)

    def decode(self, data: bytes) -> str:
        """Raises RejectedLineError."""
        try:
            return data.decode(self.codec)
        except UnicodeDecodeError as error:
            name = {"utf-8": "UTF-8"}.get(self.codec, self.codec)
            raise RejectedLineError(UNDECODABLE, f"not {name}: byte {error.start} of it") from None


def charset_of(declared: str | None, head: bytes) -> Charset:
    """Encoding of an object that begins with `head`. Undeclared, a byte order mark tells, and else it is UTF-8; a mark
    that fits what is declared is none of the text. UTF-16 and UTF-32 without a mark are little-endian, as Unicode's
    readers on today's machines have it."""
    for mark, codec in _BOMS:
        if head.startswith(mark) and (declared is None or codec == declared or codec.startswith(f"{declared}-")):
            return Charset(codec, _WIDE.get(codec, 1), len(mark))
    codec = declared or UTF_8
    if codec in ("utf-16", "utf-32"):
        codec += "-le"
    return Charset(codec, _WIDE.get(codec, 1), 0)


class PhysicalLine(NamedTuple):
    offset: int
    length: int
    """Bytes, the line's end included."""
    data: bytes | None
    """With the line's end; None if it is longer than the limit (its bytes were skipped, not kept)."""
    quotes: int = 0
    """Of the quote character, in a line that was not kept."""


def physical_lines(
    blocks: Iterable[bytes], charset: Charset, limit: int, *, offset: int = 0, quote: str = ""
) -> Iterator[PhysicalLine]:
    """Lines of an object, or of a stream that begins at `offset` of it; the mark must have been taken off.

    Memory: one block and one line.
    """
    newline, unit = charset.newline, charset.unit
    mark = quote.encode(charset.codec) if quote else b""
    held = bytearray()
    skipped = quotes = seen = 0
    for block in blocks:
        held += block
        while True:
            at = _aligned(held, newline, seen, unit)
            if at < 0:
                break
            size = at + unit
            length = skipped + size
            if length <= limit:
                yield PhysicalLine(offset, length, bytes(memoryview(held)[:size]))
            else:
                quotes += held.count(mark, 0, size) if mark else 0
                yield PhysicalLine(offset, length, None, quotes)
            del held[:size]
            offset += length
            skipped = quotes = seen = 0
        seen = len(held) - len(held) % unit
        if skipped + seen > limit:
            quotes += held.count(mark, 0, seen) if mark else 0
            skipped += seen
            del held[:seen]
            seen = 0
    if skipped or held:
        length = skipped + len(held)
        if length <= limit:
            yield PhysicalLine(offset, length, bytes(held))
        else:
            quotes += held.count(mark) if mark else 0
            yield PhysicalLine(offset, length, None, quotes)


def _aligned(held: bytearray, newline: bytes, start: int, unit: int) -> int:
    at = held.find(newline, start)
    while at >= 0 and at % unit:
        at = held.find(newline, at + 1)
    return at


def without_end(line: PhysicalLine, charset: Charset) -> tuple[int, bytes | None]:
    """Length and bytes of a line without its LF or CRLF."""
    if line.data is None:
        return line.length - charset.unit, None
    data = line.data.removesuffix(charset.newline)
    if len(data) < len(line.data):
        data = data.removesuffix("\r".encode(charset.codec))
    return len(data), data


def peeked(blocks: Iterator[bytes], size: int = HEAD) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes of a stream, and all of it again."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= size:
            break

    def again() -> Iterator[bytes]:
        if head:
            yield head
        yield from blocks

    return head[:size], again()


def without_head(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """A stream less its first bytes."""
    for block in blocks:
        if size >= len(block):
            size -= len(block)
            continue
        yield block[size:] if size else block
        size = 0
