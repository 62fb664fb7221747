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

    `persistent` is on each rank's accelerator at one moment of each step, independent of the kernels: a rank cannot
    run with less memory. `transient` is an estimate of what is added for a short time: gathered layers, their
    gradients, logits. The CUDA context, NCCL's buffers and the allocator's fragments are not counted, because no
    source gives figures.
    `checkpoint` is the size of one checkpoint of the whole run, `checkpoints` the maximum number of them in the
    run's folder: those that are kept, and the one that is being written. Both are 0 where the size is not known.
    """

    persistent: tuple[Share, ...]
    transient: tuple[Share, ...]
    checkpoint: int
    checkpoints: int

    @property
    def minimum(self) -> int:
        """The minimum number of bytes that a rank needs."""
        return sum(share.size for share in self.persistent)

    @property
    def estimate(self) -> int:
        """The estimated number of bytes that a rank needs."""
        return self.minimum + sum(share.size for share in self.transient)


def gib(size: float) -> str:
    """Return a number of bytes in GiB with one digit behind the point."""
    return f"{size / GIB:,.1f} GiB"
