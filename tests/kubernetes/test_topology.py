"""A job stays within the fewest blocks of EC2's network: Kueue places it by the labels of the nodes."""

from __future__ import annotations

from collections import Counter

import pytest

from catalog.job_queues import Queue
from catalog.reference_types import GPU
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.job_namespace import job_namespace, pool
from tests.unit.rendering import MPI, RAY, RENDERERS, read
from workloads import registry
from workloads.spec import Format, Run

# The nearest block that holds a job is neither the first nor the emptiest; nodes of blocks take turns.
PLACES = (
    ("far", "left", "a"),
    ("far", "right", "c"),
    ("far", "left", "b"),
    ("far", "right", "d"),
    ("far", "left", "a"),
    ("far", "right", "c"),
    ("far", "left", "b"),
    ("far", "right", "d"),
    ("far", "left", "a"),
    ("far", "right", "d"),
    ("far", "right", "d"),
)
NEAREST = "topology.k8s.aws/network-node-layer-3"
ABOVE = "topology.k8s.aws/network-node-layer-2"


@pytest.mark.parametrize(
    "format_",
    [Format.TRAINJOB, Format.PYTORCHJOB, Format.MPIJOB, Format.JOBSET, Format.RAYJOB],
    ids=str,
)
def test_a_job_takes_the_fewest_blocks(eks_cluster: Cluster, format_: Format) -> None:
    name = f"blocks-{format_}"
    pools = [pool(name, GPU, len(PLACES))]
    workload = {Format.MPIJOB: MPI, Format.RAYJOB: RAY}.get(format_) or registry.workload("fsdp")
    # The head of a RayJob is beside a worker.
    heads = int(format_ is Format.RAYJOB)

    def blocks(nodes: int) -> list[tuple[str, str]]:
        run = Run(workload, workload.reference, pools[0], nodes, f"of{nodes}")
        document = read(RENDERERS[format_](run, where.info(workload.name)))
        where.submit(document)
        pods = where.await_pods(document["metadata"]["name"], nodes + heads)
        where.delete(document)
        where.await_no_pods(document["metadata"]["name"])
        labels = [where.nodes.labels(one["spec"]["nodeName"]) for one in pods]
        return [(one[ABOVE], one[NEAREST]) for one in labels]

    with job_namespace(
        eks_cluster.api, name, pools, queues=[Queue(name, {name: len(PLACES)})], blocks={name: PLACES}
    ) as where:
        assert Counter(blocks(4)) == {("right", "d"): 4 + heads}
        assert len(set(blocks(3))) == 1
        # No block of the nearest layer holds it, and one of the layer above does.
        assert Counter(above for above, _ in blocks(6)) == {"right": 6 + heads}
