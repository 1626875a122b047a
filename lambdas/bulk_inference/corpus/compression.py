"""Compressed objects: gzip and Zstandard, unpacked as a stream.

gzip is in Python's standard library. A decoder of Zstandard is there from Python 3.14 on; before, only native code has
one, and pyarrow's layer brings it along.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from io import RawIOBase
from pathlib import PurePosixPath
from typing import Any, Final

from bulk_inference.core.errors import InvalidRequestError

GZIP: Final = "gzip"
ZSTD: Final = "zstd"

_CODECS: Final = {".gz": GZIP, ".gzip": GZIP, ".zst": ZSTD, ".zstd": ZSTD}
_FOREIGN: Final = frozenset({".bz2", ".xz", ".zip", ".lz4", ".snappy", ".7z", ".br", ".lzo", ".rar", ".tgz", ".tar"})

_OUT: Final = 1024 * 1024
"""Bytes unpacked at a time, whatever they were packed to."""


class DamagedError(Exception):
    """A compressed stream that ends early or holds what its format does not allow."""


def codec_of(key: str) -> str | None:
    """How an object is compressed, by its name."""
    return _CODECS.get(PurePosixPath(key).suffix.lower())


def is_foreign(key: str) -> bool:
    """Whether an object is packed in a way that is not read here."""
    return PurePosixPath(key).suffix.lower() in _FOREIGN


def plain_name(key: str) -> str:
    """The object's name without the suffix of its compression."""
    return key.removesuffix(PurePosixPath(key).suffix) if codec_of(key) is not None else key


class Unpacked:
    """Iterates over an object's bytes unpacked. Raises DamagedError, InvalidRequestError (no decoder at hand)."""

    def __init__(self, blocks: Iterable[bytes], codec: str) -> None:
        self.packed = 0
        """Bytes taken in so far."""
        self.unpacked = 0
        """Bytes given out so far."""
        self._blocks = blocks
        self._codec = codec

    def __iter__(self) -> Iterator[bytes]:
        unpack = _gunzip if self._codec == GZIP else _zstd
        for piece in unpack(self._counted()):
            self.unpacked += len(piece)
            yield piece

    def _counted(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.packed += len(block)
            yield block


def _gunzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 1952: one member or several, one after the other; zeros may follow the last."""
    member: Any = None
    for block in blocks:
        rest = block
        while rest:
            if member is None:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                piece = member.decompress(rest, _OUT)
            except zlib.error as error:
                raise DamagedError(f"no gzip: {error}") from None
            if piece:
                yield piece
            if member.eof:
                rest, member = member.unused_data, None
            else:
                rest = member.unconsumed_tail
                # All was taken in, but more may wait to be given out.
                while not rest and len(piece) == _OUT:
                    piece = member.decompress(b"", _OUT)
                    if piece:
                        yield piece
    if member is not None:
        raise DamagedError("gzip data that ends early")


def _zstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    return zstd_decoder()(blocks)


def zstd_decoder() -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """Raises InvalidRequestError where there is none."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]

        return lambda blocks: _by_decompressor(blocks, zstd.ZstdDecompressor, zstd.ZstdError)
    except ImportError:
        pass
    try:
        import pyarrow
    except ImportError:
        pyarrow = None
    if pyarrow is None or not pyarrow.Codec.is_available(ZSTD):
        raise InvalidRequestError(
            "Zstandard objects (.zst) need a decoder: apply the module with parquet = { … }, whose layer has one, or "
            "compress the corpus by gzip"
        )
    return lambda blocks: _by_pyarrow(blocks, pyarrow)


def _by_decompressor(
    blocks: Iterator[bytes], decompressor: Callable[[], Any], error_class: type[Exception]
) -> Iterator[bytes]:
    frame: Any = None
    for block in blocks:
        rest = block
        while rest:
            frame = frame or decompressor()
            try:
                piece = frame.decompress(rest, _OUT)
                rest = b""
                if piece:
                    yield piece
                while not frame.eof and not frame.needs_input:
                    piece = frame.decompress(b"", _OUT)
                    if piece:
                        yield piece
            except error_class as error:
                raise DamagedError(f"no Zstandard: {error}") from None
            if frame.eof:
                rest, frame = frame.unused_data, None
    if frame is not None:
        raise DamagedError("Zstandard data that ends early")


def _by_pyarrow(blocks: Iterator[bytes], pyarrow: Any) -> Iterator[bytes]:
    source = _Reader(blocks)
    with pyarrow.CompressedInputStream(pyarrow.PythonFile(source, mode="r"), ZSTD) as stream:
        while True:
            try:
                piece = stream.read(_OUT)
            except OSError as error:
                raise DamagedError(f"no Zstandard, or it ends early: {error}") from None
            if not piece:
                break
            yield piece


class _Reader(RawIOBase):
    """Blocks as a file that can be read once."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = block
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken
