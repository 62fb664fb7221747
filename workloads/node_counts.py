"""The numbers of nodes that meet the rules of a run which depend on them: layout, global batch, memory."""

from __future__ import annotations

from dataclasses import replace

from workloads.footprint import GIB
from workloads.spec import Run

_MAX_NODES = 1024
"""The largest number of nodes that a hint looks for."""


def divides(run: Run) -> bool:
    """Return whether the ranks share the model and the global batch out evenly."""
    batch, layout = run.global_batch, run.layout
    if layout is None:
        return batch is None or (run.ranks <= batch and batch % run.ranks == 0)
    copies = layout.data_parallel(run.ranks)
    degrees = run.workload.size_arguments.degrees_of(run.arguments)
    return layout.works(run.ranks, batch) and (degrees is None or not copies or degrees.fill(copies))


def memory_per_rank(run: Run) -> float | None:
    """Return the bytes of accelerator memory that a rank has; None where it runs on processors."""
    accelerator = run.facts.accelerator
    if not run.accelerated or accelerator is None:
        return None
    return accelerator.total_memory_gib * GIB / run.ranks_per_node


def fits(run: Run) -> bool:
    """Return whether the estimate of the run's memory fits its accelerators, or neither is known."""
    memory, needed = memory_per_rank(run), run.footprint
    return memory is None or needed is None or needed.estimate <= memory


def nearest(run: Run) -> list[str]:
    """Return the nearest numbers of nodes, below and above the run's, that work; empty where none does.

    A pool may have no more nodes, or fewer may be too few for the model: so there are two. Numbers on which the memory
    does not fit are left out, unless there are no others.
    """
    ways = (range(run.nodes - 1, 0, -1), range(run.nodes + 1, _MAX_NODES + 1))
    for works in (fits, lambda _: True):
        others = ((replace(run, nodes=nodes) for nodes in way) for way in ways)
        found = [next((other for other in way if divides(other) and works(other)), None) for way in others]
        if any(found):
            return [str(other.nodes) for other in found if other]
    return []


def more_nodes(run: Run) -> str:
    """Return the hint with the minimum number of nodes of the type that the preset fits on, if there is one."""
    for nodes in range(run.nodes + 1, _MAX_NODES + 1):
        more = replace(run, nodes=nodes)
        if divides(more) and fits(more):
            return f"it fits on {nodes} nodes of the type, or take a type with more memory"
    batch = run.global_batch
    divided = f" of those that the global batch {batch} divides by" if batch is not None else ""
    return (
        f"by this estimate no number of nodes of the type{divided} is enough; it is meant for "
        f"'{run.preset.instance_type}'"
    )
