"""The traceback with which torchrun ends when its ranks have failed, held back until it is known whether it tells more.

A rank that ends by a program's own decision has printed its reason in one line. torchrun then prints a traceback of
itself and a table with the exit codes, below that line, as if it had a fault.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from exit_codes import TOLD

_BEGIN = b"Traceback (most recent call last):"
_OF_TORCHRUN = re.compile(rb'  File "[^"\n]*/torchrun", line [0-9]+, in <module>')
_FIRST_WORD = len(b"Traceback ")


class LastWords:
    """The end of a launcher's output: from torchrun's own traceback on it is held."""

    def __init__(self) -> None:
        self._held = b""
        self._begun = False
        self._line_begins = True

    def passed(self, piece: bytes) -> bytes:
        """Return what can be written now of the output so far: all but torchrun's traceback, or what may become one."""
        text, self._held = self._held + piece, b""
        at = 0 if self._begun else self._begin(text)
        text, self._held = text[:at], text[at:]
        if text:
            self._line_begins = text.endswith(b"\n")
        return text

    def rest(self, codes: Collection[int]) -> bytes:
        """Return what is left at the end; nothing where all ranks that failed, with `codes`, have told their reason."""
        held, self._held = self._held, b""
        return b"" if self._begun and codes and set(codes) <= TOLD else held

    def _begin(self, text: bytes) -> int:
        """Return where torchrun's traceback begins, or what may be the beginning of one; the text's end otherwise."""
        at = 0 if self._line_begins else text.find(b"\n") + 1 or len(text)
        while at < len(text):
            line, ended, following = text[at:].partition(b"\n")
            if line == _BEGIN:
                second, whole, _ = following.partition(b"\n")
                self._begun = bool(whole) and bool(_OF_TORCHRUN.match(second))
                if self._begun or not whole:
                    return at
            elif not ended and len(line) >= _FIRST_WORD and _BEGIN.startswith(line):
                return at
            at = at + len(line) + 1
        return len(text)
