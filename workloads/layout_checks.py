"""Rules over the layout of a run: sizes that its framework refuses once all nodes have started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from catalog.finding import Finding, Severity
from workloads.node_counts import nearest
from workloads.spec import Run


def _options(run: Run) -> Iterator[Finding]:
    """A size that is no whole number from 1 ends the program, or divides by 0 where its parser takes it."""
    if run.stage_name:
        return
    for name, value, others in run.workload.size_arguments.wrong(run.arguments):
        besides = "".join(f" or {other}" for other in others[:1])
        yield Finding(
            "run-layout-size",
            Severity.ERROR,
            "arguments",
            value,
            f"{sized(run)} has {name} '{value}', which is no whole number from 1{besides}",
            f"give {name} a whole number from 1{besides}, or leave it out",
        )


def whose_batch(run: Run) -> str:
    """Return the place that the global batch of a run comes from, for a message."""
    if run.global_batch == run.preset.global_batch:
        return f"preset '{run.preset.name}'"
    return f"the argument {run.workload.global_batch_argument}"


def _layout(run: Run) -> Iterator[Finding]:
    """A layout that the ranks do not fill is refused by the framework, after all nodes have started.

    The rules are those of `workloads.layout`.
    """
    layout, batch = run.layout, run.global_batch
    if layout is None:
        return
    splits = run.splits
    if splits and (problems := list(splits.problems(layout))):
        # Numbers of nodes that fit such a layout help nobody.
        for message, hint in problems:
            yield Finding(
                "run-layout-model", Severity.ERROR, "arguments", str(layout), f"{sized(run)} {message}", hint
            )
        return
    size = f"{run.nodes} nodes of {run.ranks_per_node} are {run.ranks} ranks"
    copies = layout.data_parallel(run.ranks)
    if copies is None:
        yield _layout_finding(
            run,
            "run-layout-ranks",
            f"splits the model over {layout.model_parallel} ranks ({layout}), and {size}: no multiple",
        )
        return
    yield from _degrees(run, copies, size)
    if not layout.splits_experts(run.ranks):
        yield _layout_finding(
            run,
            "run-layout-experts",
            f"spreads experts over {layout.ep} ranks, which does not divide the "
            f"{copies * layout.cp} ranks that share a part of the model (dp {copies} x cp {layout.cp})",
        )
    if batch is not None and not layout.splits_batch(run.ranks, batch):
        yield _layout_finding(
            run,
            "run-layout-batch",
            f"has {copies} copies ({size}, {layout.model_parallel} each), and the global batch {batch} "
            f"of {whose_batch(run)} does not divide by micro batch {layout.micro_batch} x data-parallel size {copies}",
            _other_batch(run, layout.micro_batch * copies),
        )


def _degrees(run: Run, copies: int, size: str) -> Iterator[Finding]:
    """A program that is told its data-parallel degrees refuses those whose product is another number of copies."""
    names = run.workload.size_arguments
    degrees = names.degrees_of(run.arguments)
    if degrees is None or degrees.fill(copies):
        return
    replicate, shard = f"{names.replicate} {degrees.replicate}", f"{names.shard} {degrees.shard or -1}"
    if copies % degrees.replicate:
        divisors = [count for count in range(1, copies + 1) if copies % count == 0]
        hint = f"with {names.shard} -1, {names.replicate} may be {', '.join(map(str, divisors))}"
    else:
        hint = f"{names.shard} {copies // degrees.replicate} works, and -1, which takes the rest"
    yield Finding(
        "run-layout-degrees",
        Severity.ERROR,
        "arguments",
        f"{degrees.replicate} x {degrees.shard or -1}",
        f"{sized(run)} has a data-parallel size of {copies} ({size}, {run.ranks // copies} each), which "
        f"{replicate} x {shard} does not give",
        hint,
    )


def _other_batch(run: Run, step: int) -> str:
    """Return the hint with global batches that a run's nodes share out evenly."""
    option = run.workload.global_batch_argument
    return f"give {option} a multiple of {step}" if option else ""


def _layout_finding(run: Run, rule: str, message: str, batches: str = "") -> Finding:
    """Return an error on a number of nodes that a layout does not fit, with the numbers that it does fit.

    `batches` is a hint for where no number of nodes fits the global batch.
    """
    nodes = nearest(run)
    return Finding(
        rule,
        Severity.ERROR,
        "nodes",
        str(run.nodes),
        f"{sized(run)} {message}",
        f"{' or '.join(nodes)} nodes work"
        if nodes
        else batches or "take a type with another number of accelerators",
    )


def sized(run: Run) -> str:
    """Return the subject of a message on a run's layout or precision, which its arguments may have changed."""
    preset = run.preset
    changed = (run.layout, run.precision) != (preset.layout, preset.precision)
    return f"the preset '{preset.name}' of {run.workload.name}{' with its arguments' if changed else ''}"


def _layout_tensor(run: Run) -> Iterator[Finding]:
    """Tensor parallel ranks exchange activations in every layer: between nodes that is many times slower.

    A warning: the NVLink of some types spans nodes.
    """
    layout = run.layout
    if layout is not None and run.accelerated and run.ranks_per_node % layout.tp:
        splits = run.splits
        fitting = [
            size
            for size in range(1, run.ranks_per_node + 1)
            if run.ranks_per_node % size == 0 and (splits is None or splits.splits_tensors(size))
        ]
        yield Finding(
            "run-layout-tensor",
            Severity.WARNING,
            "instance-type",
            run.instance_type,
            f"{sized(run)} splits tensors over {layout.tp} ranks, and "
            f"'{run.instance_type}' has {run.ranks_per_node} per node, so they would communicate between nodes",
            f"tensor parallel sizes that stay on a node: {', '.join(map(str, fitting))}",
        )


LAYOUT_RULES: tuple[Callable[[Run], Iterator[Finding]], ...] = (_options, _layout, _layout_tensor)
"""The rules of this module, for `workloads.checks`."""
