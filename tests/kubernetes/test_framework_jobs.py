"""Workloads of frameworks as TrainJobs on process nodes, under the real controllers, in the stack's queues.

Each framework has nodes of its own, whose containers find its environment first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kubernetes import capacity
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.process_nodes import ProcessNodes, why_not
from tests.kubernetes.training_jobs import NODES, POOL, Job, lay_images
from tests.programs import not_available
from tests.progress_log import matching
from tests.training.framework_runs import framework
from workloads import registry
from workloads.spec import Format

NAMES = ("bionemo", "jax", "megatron-lm", "mosaicml-composer", "nemo-run", "torchtitan")


@contextmanager
def nodes(cluster: Cluster, name: str, folder: Path) -> Iterator[ProcessNodes]:
    """Start process nodes of the stack's pool of processors for a workload."""
    images = lay_images(folder / "images", name)
    path = (framework(name) / "bin", Path(sys.executable).parent)
    with ProcessNodes(cluster.plane, folder / "nodes", images=images, path=path) as running:
        running.start(*(capacity.node(POOL, f"{name}-{number}") for number in range(NODES)))
        yield running


@pytest.mark.heavy
@pytest.mark.proof("bionemo", "trainjob", "executed (real controllers)")
@pytest.mark.proof("jax", "trainjob", "executed (real controllers)")
@pytest.mark.proof("megatron-lm", "trainjob", "executed (real controllers)")
@pytest.mark.proof("mosaicml-composer", "trainjob", "executed (real controllers)")
@pytest.mark.proof("nemo-run", "trainjob", "executed (real controllers)")
@pytest.mark.proof("torchtitan", "trainjob", "executed (real controllers)")
@pytest.mark.parametrize("name", NAMES)
def test_two_pods_train_to_their_end(
    eks_cluster: Cluster, artifacts: Callable[[str], Path], name: str
) -> None:
    if reason := why_not():
        not_available(reason)
    with nodes(eks_cluster, name, artifacts(f"{name}-pods")) as running:
        job = Job(eks_cluster.api, running, name, Format.TRAINJOB, "whole")
        try:
            job.finish()
            log = job.log
        finally:
            job.delete()
    losses = [found["loss"] for found in matching(log, registry.workload(name).progress.pattern)]
    assert losses[-1] < losses[0], log
