"""Runs of nccl-tests' gloo preset on two nodes of two ranks, and what is expected of their logs."""

from __future__ import annotations

from dataclasses import replace

from catalog.pool import Pool
from workloads import registry
from workloads.nccl_tests.results import Run as Result
from workloads.nccl_tests.results import read
from workloads.spec import Run

NODES, RANKS_PER_NODE = 2, 2
ROWS = 6


def collective_run(collective: str = "all_reduce", *, pool: Pool | None = None, id_: str = "") -> Run:
    """Return a run of the preset with another collective; a node has two ranks, so that both are more than one."""
    workload = registry.workload("nccl-tests")
    preset = workload.presets["gloo"]
    words = [collective if word == "all_reduce" else word for word in preset.arguments]
    changed = replace(workload, resources=replace(workload.resources, ranks_per_node=RANKS_PER_NODE))
    run = Run.on_type(changed, replace(preset, arguments=tuple(words)), preset.instance_type, NODES, id=id_)
    return run if pool is None else replace(run, pool=pool)


def check(log: str, collective: str = "all_reduce", *, hosts: int) -> Result:
    """Assert that a log has one run, of all ranks, that passed; `hosts` is the number of names that nodes have."""
    [found] = read(log.splitlines())
    assert (found.backend, found.collective) == ("gloo", collective), log
    assert (found.ranks, found.hosts) == (NODES * RANKS_PER_NODE, hosts), log
    assert len(found.rows) == ROWS, log
    assert found.problems() == [], log
    return found
