"""Files in xz: the prediction path reads gzip itself, but not this."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator

from pipelines.errors import UserError

MAGIC = b"\xfd7zXZ\x00"  # how such a file begins
_MOST = 1 << 20  # bytes that are unpacked at once, however small they were packed
_MEMORY = 128 << 20  # bytes that a file may ask for: `xz -9` takes half of it


class Unpacker:
    """Unpacks what is xz while it arrives, and leaves everything else as it is."""

    def __init__(self, name: str) -> None:
        """`name` is that of the file, for errors."""
        self._name = name
        self._beginning = b""
        self._is_known = False
        self._stream: lzma.LZMADecompressor | None = None

    def feed(self, content: bytes) -> Iterator[bytes]:
        """What comes out of the next bytes of the file. Raises UserError if it is damaged."""
        if not self._is_known:
            self._beginning += content
            if len(self._beginning) < len(MAGIC):
                return
            content = self._begin()
        yield from self._plain(content)

    def end(self) -> Iterator[bytes]:
        """What comes at the end. Raises UserError if the file is cut short."""
        if not self._is_known:
            yield from self._plain(self._begin())
        if self._stream and not self._stream.eof:
            raise self._damaged()

    def _begin(self) -> bytes:
        self._is_known = True
        if self._beginning.startswith(MAGIC):
            self._stream = _decompressor()
        return self._beginning

    def _plain(self, content: bytes) -> Iterator[bytes]:
        if self._stream is None:
            yield content
            return
        try:
            while content:
                if self._stream.eof:  # a file may have several streams, and zeros between them
                    content = content.lstrip(b"\0")
                    if not content:
                        return
                    self._stream = _decompressor()
                yield self._stream.decompress(content, _MOST)
                while not self._stream.needs_input and not self._stream.eof:
                    yield self._stream.decompress(b"", _MOST)
                content = self._stream.unused_data
        except lzma.LZMAError:
            raise self._damaged() from None

    def _damaged(self) -> UserError:
        return UserError(f"{self._name}: the xz file is damaged or cut short")


def unpacked(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The content of a file, whose blocks these are."""
    unpacker = Unpacker(name)
    for block in blocks:
        yield from unpacker.feed(block)
    yield from unpacker.end()


def _decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
