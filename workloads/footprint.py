"""The memory and storage that a run takes: bytes on each accelerator, and bytes of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a rank's memory: what it is, its size in bytes, and the arithmetic that gave the size."""

    what: str
    size: int
    arithmetic: str

    def __str__(self) -> str:
        """Return the part with its arithmetic and size, as messages show it."""
        return f"{self.what} {self.arithmetic} = {gib(self.size)}"


@dataclass(frozen=True, slots=True)
class Footprint:
    """The bytes that a run takes with its number of ranks.

    `held` is on each rank's accelerator at one moment of each step whatever the kernels do: less memory cannot be
    enough. `passing` is an estimate of what comes on top for moments: gathered layers, their gradients, logits. Not
    counted, for no source gives figures: the CUDA context, NCCL's buffers, fragments of the allocator.
    `checkpoint` is the size of one checkpoint of the whole run, `checkpoints` how many of them are in the run's folder
    at most: those that stay, and the one that is being written.
    """

    held: tuple[Share, ...]
    passing: tuple[Share, ...]
    checkpoint: int
    checkpoints: int

    @property
    def least(self) -> int:
        """Bytes of memory that a rank needs in any case."""
        return sum(share.size for share in self.held)

    @property
    def estimate(self) -> int:
        """Bytes of memory that a rank is expected to need."""
        return self.least + sum(share.size for share in self.passing)


def gib(size: float) -> str:
    """Return a number of bytes in GiB with one digit behind the point."""
    return f"{size / GIB:,.1f} GiB"
