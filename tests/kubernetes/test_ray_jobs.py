"""ray-train as a RayJob on process nodes, under the real KubeRay operator, in the stack's queues: a worker is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kubernetes import capacity
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.process_nodes import ProcessNodes, why_not
from tests.kubernetes.training_jobs import NAMESPACE, NODES, POOL, Job, lay_images
from tests.programs import not_available, require_module
from tests.training.framework_runs import framework
from tests.training.runs import fsdp_losses, losses_of
from workloads.render.rayjob import NODE_TYPE
from workloads.spec import Format

require_module("torch", "make setup-train installs it")

_WORDS = ("--steps=20", "--warmup-steps=2", "--checkpoint-every=5")


@pytest.fixture(scope="module")
def nodes(eks_cluster: Cluster, artifacts: Callable[[str], Path]) -> Iterator[ProcessNodes]:
    """Process nodes of the stack's pool of processors, with the programs of the workload's environment."""
    if reason := why_not():
        not_available(reason)
    folder = artifacts("ray-job-nodes")
    path = _programs(folder / "bin")
    images = lay_images(folder / "images", "ray-train")
    with ProcessNodes(eks_cluster.plane, folder / "nodes", images=images, path=path) as running:
        # One more than it takes: the head is on a node of its ranks by choice.
        running.start(*(capacity.node(POOL, f"ray-{number}") for number in range(NODES + 1)))
        yield running


def _programs(programs: Path) -> tuple[Path, ...]:
    """Return folders of programs with those of the workload's environment, by a path without a space.

    Ray starts its own programs by a shell that does not quote the interpreter, and the script `ray` names it by the
    environment's own path, which may have a space. The link is in the folder of programs, which containers see.
    """
    programs.mkdir()
    environment = programs / "environment"
    environment.symlink_to(framework("ray-train"))
    ray = programs / "ray"
    ray.write_text(
        f'#!/bin/sh\nexec {environment}/bin/python3 {environment}/bin/ray "$@"\n', encoding="utf-8"
    )
    ray.chmod(0o755)
    return programs, environment / "bin"


def _workers(job: Job) -> list[str]:
    """Return the names of its workers that are not about to end."""
    return [
        one["metadata"]["name"]
        for one in job.pods()
        if one["metadata"]["labels"][NODE_TYPE] == "worker" and "deletionTimestamp" not in one["metadata"]
    ]


@pytest.mark.heavy
@pytest.mark.proof("ray-train", "rayjob", "executed (real controllers)")
def test_a_run_resumes_after_a_worker_is_deleted(
    eks_cluster: Cluster, nodes: ProcessNodes, run_folder: Path
) -> None:
    """Ray Train starts all ranks again on the same cluster, in which KubeRay has replaced the worker."""
    job = Job(eks_cluster.api, nodes, "ray-train", Format.RAYJOB, "lost", *_WORDS, "--step-seconds=0.5")
    job.await_step(7)
    workers = _workers(job)
    assert len(workers) == NODES
    assert len({one["spec"]["nodeName"] for one in job.pods()}) == NODES
    eks_cluster.api.delete("v1", "Pod", workers[0], namespace=NAMESPACE)
    job.finish()
    # The newest checkpoint may not have been whole.
    resumed = re.findall(r"resuming after step (\d+) of 20", job.log)
    assert len(resumed) == 1
    assert int(resumed[0]) > 0
    assert len({*_workers(job), *workers}) == NODES + 1
    losses = losses_of(nodes.claims / NAMESPACE / "fsx-claim" / "runs/ray-train/lost")
    assert losses == fsdp_losses(run_folder, *_WORDS)
    job.delete()
