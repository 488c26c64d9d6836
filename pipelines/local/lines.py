"""The lines of what a container prints, from the pieces in which they come."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable


class Lines:
    """Hands on whole lines: of UTF-8, what is not is replaced, ended as Python's text files are."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)

    def hear_all(self, pieces: Iterable[bytes]) -> None:
        """Hands on all lines, the last one too where nothing ends it."""
        rest = ""
        for piece in pieces:
            *lines, rest = (rest + self._decoder.decode(piece)).split("\n")
            for line in lines:
                self._log(line)
        rest += self._decoder.decode(b"", final=True)
        if rest:
            self._log(rest.rstrip("\n"))
