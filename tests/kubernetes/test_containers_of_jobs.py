"""Jobs whose pods have other containers too: real controllers take them, and a job ends although one runs for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from tests.container_sample import PRINTED, SAMPLE
from tests.kubernetes import capacity
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.process_nodes import ProcessNodes, why_not
from tests.kubernetes.training_jobs import NAMESPACE, POOL, QUEUE_LABEL, WAIT_SECONDS, lay_images
from tests.programs import not_available
from workloads.launchers import Mpi
from workloads.render.all import render
from workloads.spec import Format, Run, Workload

INFO = ClusterInfo.example("eks", [SAMPLE.name])


def document(format_: Format, shown: Workload = SAMPLE) -> dict[str, Any]:
    """Return the manifest of a run on two nodes."""
    run = Run(shown, shown.presets["tiny"], POOL, 2, "containers")
    found: dict[str, Any] = yaml.safe_load(render(run, format_, INFO))
    found["metadata"]["labels"][QUEUE_LABEL] = "research"
    return found


@pytest.fixture(scope="module")
def nodes(eks_cluster: Cluster, artifacts: Callable[[str], Path]) -> Iterator[ProcessNodes]:
    """Process nodes of the stack's pool of processors."""
    if reason := why_not():
        not_available(reason)
    folder = artifacts("container-job-nodes")
    images = lay_images(folder / "images", SAMPLE.name)
    with ProcessNodes(eks_cluster.plane, folder / "nodes", images=images) as running:
        running.start(*(capacity.node(POOL, f"containers-{number}") for number in range(2)))
        yield running


def test_a_job_ends_although_a_container_beside_it_runs_for_ever(
    eks_cluster: Cluster, nodes: ProcessNodes
) -> None:
    api, job = eks_cluster.api, document(Format.PYTORCHJOB)
    name = job["metadata"]["name"]
    api.create(job, namespace=NAMESPACE)

    def ended() -> str:
        found = api.get("kubeflow.org/v1", "PyTorchJob", name, namespace=NAMESPACE)
        conditions = found.get("status", {}).get("conditions", ())
        met = (one["type"] for one in conditions if one["status"] == "True")
        return next((one for one in met if one in ("Succeeded", "Failed")), "")

    assert api.await_("the job has ended", ended, seconds=WAIT_SECONDS) == "Succeeded"
    # The job has ended with its master: the operator deletes a worker that has not.
    master = f"{name}-master-0"
    status = api.get("v1", "Pod", master, namespace=NAMESPACE)["status"]
    assert status["phase"] == "Succeeded"
    states = {each["name"]: each["state"] for each in status["initContainerStatuses"]}
    assert states["prepare"]["terminated"]["exitCode"] == states["watch"]["terminated"]["exitCode"] == 0
    logs = {
        container: eks_cluster.plane.kubectl("logs", "-n", NAMESPACE, master, "-c", container).stdout
        for container in ("watch", "pytorch")
    }
    assert logs["watch"] == "watching\ntold\n"
    assert logs["pytorch"].splitlines()[-1] == PRINTED
    api.delete("kubeflow.org/v1", "PyTorchJob", name, namespace=NAMESPACE)


def test_other_formats_are_taken_as_they_are_written(eks_cluster: Cluster) -> None:
    """Fields that the API server does not know are errors; a restart policy that it drops would let a job hang."""
    job = document(Format.MPIJOB, replace(SAMPLE, launcher=Mpi()))
    made = eks_cluster.api.create(job, namespace=NAMESPACE, dry_run=True)
    templates = [replicas["template"] for replicas in made["spec"]["mpiReplicaSpecs"].values()]
    made = eks_cluster.api.create(document(Format.JOBSET), namespace=NAMESPACE, dry_run=True)
    templates += [each["template"]["spec"]["template"] for each in made["spec"]["replicatedJobs"]]
    assert len(templates) == 3
    for template in templates:
        containers = template["spec"]["initContainers"]
        assert [each.get("restartPolicy") for each in containers] == [None, "Always"]
