"""The requirements of a node that runs ranks of a workload, or of a stage of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from catalog.spelling import did_you_mean

Accelerators = Literal["cpu", "gpu", "neuron"]

ALL_KINDS: tuple[Accelerators, ...] = ("gpu", "neuron", "cpu")
"""All kinds of accelerators, for a program that uses what the node has; the best first."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The requirements of a node, and the number of ranks that it runs.

    `accelerators` is what its presets run on, unless one names another. `ranks_per_node` is None for one rank per
    accelerator, or per logical core on Neuron devices. `memory_gib_per_rank` is what a rank needs of the host's memory.
    `efa` is true if several nodes are useless without it. `lnc` is how many physical Neuron cores make a logical one
    (Logical NeuronCore configuration, 1 or 2); None for the device's default.
    """

    accelerators: tuple[Accelerators, ...]
    ranks_per_node: int | None = None
    memory_gib_per_rank: float = 1
    efa: bool = False
    lnc: int | None = None

    def __post_init__(self) -> None:
        """Refuse accelerators that are not known.

        Raises:
            ValueError: everything that is wrong with them.
        """
        if problems := list(check_accelerators(self.accelerators)):
            raise ValueError("; ".join(problems))


def check_accelerators(names: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the accelerators of a workload or of a preset."""
    known = get_args(Accelerators)
    if isinstance(names, str):
        yield f"accelerators are a tuple of names, as in ('{known[0]}',), and not the text '{names}'"
        return
    if not names:
        yield f"there is no kind of accelerator; take one or more of {', '.join(known)}"
    for name in names:
        if name not in known:
            guess = did_you_mean(name, known)
            yield f"there is no kind of accelerator '{name}'{guess}; there are {', '.join(known)}"
