"""Lines of a byte range of a JSONL object, as a stream.

Lines end at the byte 0x0A and nowhere else: U+0085 and U+2028 occur inside JSON strings. A range [start, end) owns the
lines that *begin* inside it, so that any cut of an object into ranges gives each line to exactly one of them.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from bulk_inference.corpus.rows import Row

BOM: Final = b"\xef\xbb\xbf"
_WINDOW: Final = 1024 * 1024
"""Bytes split at a time: bounds the list of lines, whatever the size of the blocks that come in."""


def lines_of_range(blocks: Iterable[bytes], start: int, end: int, max_line_bytes: int) -> Iterator[Row]:
    """Lines that begin in [start, end), in order; the empty last line of an object that ends in LF is none.

    `blocks` are the object's bytes from `first_byte(start)` on, to the object's end if need be: reading stops with the
    last owned line. Memory: one block, one window's lines, one line.
    """
    offset = first_byte(start)
    number = 0
    for position, length, data in _split(_while_lines_begin(blocks, start, end), offset, max_line_bytes):
        if position < start:
            # The line that runs into the range belongs to the range before; when byte start-1 ends a line, this is
            # its end alone.
            continue
        if position >= end:
            return
        number += 1
        next_line = position + length + 1
        if position == 0 and data is not None and data.startswith(BOM):
            position, length, data = len(BOM), length - len(BOM), data[len(BOM) :]
        if data is not None and data.endswith(b"\r"):
            length, data = length - 1, data[:-1]
        yield Row(number, position, length, data)
        if next_line >= end:
            # Do not wait for the bytes of a line that is another range's.
            return


def first_byte(start: int) -> int:
    """From which byte on to read a range: the one before it tells whether a line begins at `start`."""
    return max(start - 1, 0)


def _while_lines_begin(blocks: Iterable[bytes], start: int, end: int) -> Iterator[bytes]:
    """Stops at `end` if no line has begun by then: the range lies inside one long line, which is not its own."""
    position = first_byte(start)
    begun = start == 0
    for block in blocks:
        if not begun and position >= end:
            return
        begun = begun or b"\n" in block
        position += len(block)
        yield block


def _split(blocks: Iterable[bytes], offset: int, limit: int) -> Iterator[tuple[int, int, bytes | None]]:
    """(offset, length, bytes or None if over the limit) of each line. A CR before the LF counts towards the limit."""
    held: list[bytes] = []
    length = 0
    """Bytes of the unfinished line, of which `held` is all or, once over the limit, nothing."""
    for block in blocks:
        for window in _windows(block):
            first, *rest = window.split(b"\n")
            length += len(first)
            if length <= limit:
                held.append(first)
            else:
                held.clear()
            if not rest:
                continue
            yield offset, length, b"".join(held) if length <= limit else None
            offset += length + 1
            last = rest.pop()
            for line in rest:
                yield offset, len(line), line if len(line) <= limit else None
                offset += len(line) + 1
            length = len(last)
            held = [last] if length <= limit else []
    if length:
        yield offset, length, b"".join(held) if length <= limit else None


def _windows(block: bytes) -> Iterator[bytes]:
    if len(block) <= _WINDOW:
        yield block
        return
    for start in range(0, len(block), _WINDOW):
        yield block[start : start + _WINDOW]
