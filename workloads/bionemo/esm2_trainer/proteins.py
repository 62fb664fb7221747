"""The file of protein sequences that the stage `download` writes and the training reads.

Two files: `residues.bin` has the letters of all sequences one after the other, `offsets.bin` where each begins and the
last ends, as unsigned 64-bit numbers, the lowest byte first. Reading a sequence needs neither the others nor an index
in memory.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

RESIDUES, OFFSETS = "residues.bin", "offsets.bin"

_NUMBER = struct.Struct("<Q")
_PAIR = struct.Struct("<QQ")


class Proteins:
    """The sequences below a folder, by their number.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: the files do not belong together, or there is no sequence.
    """

    def __init__(self, folder: Path) -> None:
        self._residues = _mapped(folder / RESIDUES)
        self._offsets = _mapped(folder / OFFSETS)
        if len(self._offsets) % _NUMBER.size or len(self._offsets) < _PAIR.size:
            raise ValueError(f"'{folder / OFFSETS}' is not whole: {len(self._offsets)} bytes")
        (end,) = _NUMBER.unpack_from(self._offsets, len(self._offsets) - _NUMBER.size)
        if end != len(self._residues):
            raise ValueError(
                f"'{folder / RESIDUES}' has {len(self._residues)} bytes, and '{OFFSETS}' says {end}: fetch them again"
            )

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self._offsets) // _NUMBER.size - 1

    def __getitem__(self, number: int) -> bytes:
        """Return the letters of a sequence."""
        first, end = _PAIR.unpack_from(self._offsets, number * _NUMBER.size)
        return self._residues[first:end]


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise ValueError(f"'{path}' is empty") from error


def write(folder: Path, sequences: Iterable[bytes]) -> int:
    """Write sequences and return their number; the files appear whole, the offsets last.

    Raises:
        OSError: they cannot be written.
    """
    unfinished = {name: folder / f".{name}" for name in (RESIDUES, OFFSETS)}
    count = end = 0
    with unfinished[RESIDUES].open("wb") as residues, unfinished[OFFSETS].open("wb") as offsets:
        offsets.write(_NUMBER.pack(0))
        for sequence in sequences:
            residues.write(sequence)
            end += len(sequence)
            offsets.write(_NUMBER.pack(end))
            count += 1
    for name, path in unfinished.items():
        path.replace(folder / name)
    return count


def read_fasta(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the sequences of a FASTA file, without their titles."""
    parts: list[bytes] = []
    for line in lines:
        if line.startswith(b">"):
            if parts:
                yield b"".join(parts)
            parts = []
        else:
            parts.append(line.strip().upper())
    if any(parts):
        yield b"".join(parts)
