"""Rules over a run: the requirements that its nodes do not meet, one small function each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from catalog.finding import Finding, Severity
from catalog.instances import INSTANCES
from catalog.neuron import supported_lnc
from catalog.precision import lacks
from catalog.spelling import did_you_mean
from workloads.footprint import gib
from workloads.layout_checks import LAYOUT_RULES, sized, whose_batch
from workloads.node_counts import memory_per_rank, more_nodes, nearest
from workloads.preset import Preset
from workloads.resources import Accelerators
from workloads.spec import Format, Run


def check_run(run: Run) -> list[Finding]:
    """Return every finding on a run, errors and warnings.

    On nodes without the accelerators that it needs that is the only one: the others depend on the number of its ranks.
    """
    if unfit := list(check_kind(run)):
        return unfit
    return list(chain.from_iterable(rule(run) for rule in _RULES))


def check_preset(preset: Preset) -> Iterator[Finding]:
    """Yield mistakes of a preset itself: an override for an unknown instance type never applies."""
    families = {name.partition(".")[0] for name in INSTANCES}
    for key in preset.on:
        if key not in INSTANCES and key not in families:
            yield Finding(
                "preset-override",
                Severity.ERROR,
                "preset",
                preset.name,
                f"the preset '{preset.name}' has an override for '{key}', which is neither an instance type nor a "
                f"family of the catalog{did_you_mean(key, [*INSTANCES, *families])}",
                "correct 'on' in the workload's workload.py; 'trainforge catalog refresh' reads new types from EC2",
            )


def check_local(run: Run) -> list[Finding]:
    """Return the findings on a run on the local machine: ranks on accelerators do not share one.

    Ranks on processors do: the same run, only slower.
    """
    if not run.accelerated or run.nodes == 1:
        return []
    small = [preset.name for preset in run.workload.presets.values() if "cpu" in _runs_on(run, preset)]
    elsewhere = f", or the preset {' or '.join(small)}, which runs on processors" if small else ""
    return [
        Finding(
            "run-local-nodes",
            Severity.ERROR,
            "nodes",
            str(run.nodes),
            f"{run.nodes} nodes with {run.accelerators_per_node} accelerators each do not fit on this one machine",
            f"give --nodes 1 on a '{run.instance_type}'{elsewhere}",
        )
    ]


def check_containers(run: Run, format_: Format) -> Iterator[Finding]:
    """Yield which containers of a run a format does not start."""
    if format_ is Format.TRAINJOB and run.workload.containers:
        yield Finding(
            "run-containers",
            Severity.ERROR,
            "format",
            format_,
            f"{run.workload.name} has containers besides its program, and a TrainJob cannot add one to its runtime",
            "take another format, 'pytorchjob' for one",
        )
    if format_ is Format.LOCAL:
        for container in run.workload.containers:
            if container.image:
                before = container.when == "before"
                yield Finding(
                    "run-containers",
                    Severity.ERROR if before else Severity.WARNING,
                    "containers",
                    container.name,
                    f"the container '{container.name}' of {run.workload.name} has an image of its own, and nothing "
                    "runs containers here",
                    "run it on a cluster" if before else "the run goes without it",
                )


def _runs_on(run: Run, preset: Preset) -> tuple[Accelerators, ...]:
    return replace(run, preset=preset).runs_on


def check_kind(run: Run) -> Iterator[Finding]:
    """Yield an error on nodes without the accelerators that a run needs.

    A program for accelerators does not start on processors, and a large model would never finish there.
    """
    kinds = run.runs_on
    if run.kind not in kinds:
        has = (
            "Neuron devices" if run.facts.has_neuron else "GPUs" if run.facts.has_gpus else "no accelerators"
        )
        yield Finding(
            "run-accelerators",
            Severity.ERROR,
            "instance-type",
            run.instance_type,
            f"the preset '{run.preset.name}' of {run.workload.name} runs on {' or '.join(kinds)}, and "
            f"'{run.instance_type}' has {has}",
            _other_presets(run) or f"it is meant for '{run.preset.instance_type}'",
        )


def _other_presets(run: Run) -> str:
    """Name the presets of the workload that do run on the type, if there are any."""
    fitting = [
        preset.name
        for preset in run.workload.presets.values()
        if (other := replace(run, preset=preset)).kind in other.runs_on
    ]
    return f"of its presets {', '.join(fitting)} can run there" if fitting else ""


def _idle(run: Run) -> Iterator[Finding]:
    """Unused accelerators cost as much as used ones."""
    if run.facts.is_accelerated and run.kind == "cpu" and "cpu" in run.runs_on:
        has = "Neuron devices" if run.facts.has_neuron else "GPUs"
        yield Finding(
            "run-idle-accelerators",
            Severity.WARNING,
            "instance-type",
            run.instance_type,
            f"the preset '{run.preset.name}' of {run.workload.name} runs on processors, and the {has} of "
            f"'{run.instance_type}' would be idle",
            "give a pool without accelerators: '--prepare-on' at launch, 'prepare_on' in the configuration"
            if run.stage_name
            else f"it is meant for '{run.preset.instance_type}'",
        )


def _efa(run: Run) -> Iterator[Finding]:
    """Without EFA, collectives of several nodes go over TCP, many times slower, and training still works."""
    if run.nodes == 1 or not run.accelerated or run.facts.supports_efa:
        return
    needed = run.workload.resources.efa
    yield Finding(
        "run-efa",
        Severity.ERROR if needed else Severity.WARNING,
        "instance-type",
        run.instance_type,
        f"'{run.instance_type}' has no EFA, and {run.nodes} nodes of {run.workload.name} would communicate over TCP",
        "take a larger size of the family, or one node",
    )


def _ranks(run: Run) -> Iterator[Finding]:
    """Two ranks on one accelerator share its memory, and NCCL refuses them."""
    fixed = run.workload.resources.ranks_per_node
    if run.accelerated and fixed and fixed > run.accelerators_per_node:
        yield Finding(
            "run-ranks",
            Severity.ERROR,
            "instance-type",
            run.instance_type,
            f"{run.workload.name} starts {fixed} ranks a node, and '{run.instance_type}' has "
            f"{run.accelerators_per_node} accelerators",
            f"take a type with {fixed} or more",
        )


def _global_batch(run: Run) -> Iterator[Finding]:
    """A step's samples are shared out evenly; a remainder would change the batch without a message."""
    batch = run.global_batch
    if batch is not None and run.layout is None and batch % run.ranks:
        yield Finding(
            "run-global-batch",
            Severity.ERROR,
            "nodes",
            str(run.nodes),
            f"the global batch {batch} of {whose_batch(run)} does not divide by {run.ranks} ranks "
            f"({run.nodes} nodes of {run.ranks_per_node})",
            _nearest_batch(run, nearest(run)),
        )


def _nearest_batch(run: Run, nodes: Sequence[str]) -> str:
    """Return what to do about a batch that does not divide."""
    ways = [f"it divides by the ranks of {' or '.join(nodes)} nodes"] if nodes else []
    if run.global_batch != run.preset.global_batch:
        ways.append(f"give a multiple of {run.ranks}")
    return "; ".join(ways) or "take a type with another number of accelerators"


def _lnc(run: Run) -> Iterator[Finding]:
    """A Neuron device joins only certain numbers of cores; the compiler refuses any other."""
    accelerator = run.facts.accelerator
    if run.lnc is None or accelerator is None or run.lnc in supported_lnc(accelerator):
        return
    yield Finding(
        "run-lnc",
        Severity.ERROR,
        "instance-type",
        run.instance_type,
        f"the preset '{run.preset.name}' of {run.workload.name} takes {run.lnc} physical cores as a logical one "
        f"(LNC), and {accelerator.name} has LNC {' or '.join(map(str, sorted(supported_lnc(accelerator))))}",
        f"it is meant for '{run.preset.instance_type}'",
    )


def _precision(run: Run) -> Iterator[Finding]:
    """A program ends at its first steps where the accelerator lacks the precision, or is slow by emulation."""
    precision = run.precision
    if not run.accelerated or precision is None or not (reason := lacks(run.facts, precision)):
        return
    # PyTorch emulates bf16, and no other.
    emulated = run.preset.emulated and precision == "bf16"
    yield Finding(
        "run-precision",
        Severity.WARNING if emulated else Severity.ERROR,
        "instance-type",
        run.instance_type,
        f"{sized(run)} computes in {precision}, which '{run.instance_type}' "
        f"{'emulates, slowly' if emulated else 'lacks'}: {reason}",
        f"it is meant for '{run.preset.instance_type}'",
    )


def _memory(run: Run) -> Iterator[Finding]:
    """A node that runs out of memory kills a rank, often hours later."""
    needed = run.workload.resources.memory_gib_per_rank * run.ranks_per_node
    if needed > run.facts.memory_gib:
        yield Finding(
            "run-memory",
            Severity.ERROR,
            "instance-type",
            run.instance_type,
            f"{run.ranks_per_node} ranks of {run.workload.name} need {needed:g} GiB of memory, and "
            f"'{run.instance_type}' has {run.facts.memory_gib:g} GiB",
            "take a larger size",
        )


def _containers(run: Run) -> Iterator[Finding]:
    """Containers besides the program share its node with it."""
    others = run.workload.containers
    vcpus, memory = sum(each.vcpus for each in others), sum(each.memory_mib for each in others) / 1024
    needed = run.workload.resources.memory_gib_per_rank * run.ranks_per_node
    if others and (vcpus >= run.vcpus or memory + needed > run.facts.memory_gib):
        yield Finding(
            "run-containers",
            Severity.ERROR,
            "instance-type",
            run.instance_type,
            f"containers of {run.workload.name} take {vcpus} vCPUs and {memory:g} GiB of memory, which with the "
            f"{needed:g} GiB of its ranks is more than the {run.vcpus} vCPUs and {run.facts.memory_gib:g} GiB of "
            f"'{run.instance_type}'",
            "take a larger size",
        )


def _accelerator_memory(run: Run) -> Iterator[Finding]:
    """A rank that does not fit its accelerator ends at its first step, with all nodes started and paid for.

    An error if the persistent part alone exceeds the memory, a warning if the estimate does; the arithmetic is in
    the message, and its source with the workload.
    """
    memory, needed = memory_per_rank(run), run.footprint
    if memory is None or needed is None or needed.estimate <= memory:
        return
    impossible = needed.minimum > memory
    amount = needed.minimum if impossible else needed.estimate
    shares = needed.persistent if impossible else (*needed.persistent, *needed.transient)
    accelerator = run.facts.accelerator
    assert accelerator, "it has memory"
    yield Finding(
        "run-accelerator-memory",
        Severity.ERROR if impossible else Severity.WARNING,
        "instance-type",
        run.instance_type,
        f"the preset '{run.preset.name}' of {run.workload.name} {'needs at least' if impossible else 'needs about'} "
        f"{gib(amount)} on each of {run.ranks} accelerators, and '{run.instance_type}' has {gib(memory)} on each "
        f"({accelerator.name}): {'; '.join(map(str, shares))}",
        more_nodes(run),
    )


_RULES: tuple[Callable[[Run], Iterator[Finding]], ...] = (
    _idle,
    _efa,
    _ranks,
    _global_batch,
    *LAYOUT_RULES,
    _lnc,
    _precision,
    _memory,
    _containers,
    _accelerator_memory,
)
