"""Annotations for Kueue that keep the pods of a job close to each other in the network."""

from __future__ import annotations

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import KINDS
from catalog.kubernetes import NETWORK_LAYER
from workloads.spec import Run

# kueue 0.19, topology_types.go.
_PREFERRED = "kueue.x-k8s.io/podset-preferred-topology"
_GROUP = "kueue.x-k8s.io/podset-group-name"


def topology(run: Run, info: ClusterInfo, *, pod_sets: int = 1) -> dict[str, str]:
    """Return the annotations of a pod that keep its job within the fewest blocks of EC2's network.

    The nearest layer is preferred; Kueue takes the next one where no block of it holds the job. Without the annotation
    it fills what is left of blocks. A job of two `pod_sets` names them a group, else each has a block of its own.
    Queues of the EKS stack have the layers of every type. Those of HyperPod's governance depend on
    the cluster, and where they do not, a job with the annotation is never admitted.
    """
    layers = run.facts.topology_layers
    if KINDS[info.cluster].sagemaker or run.nodes == 1 or not layers:
        return {}
    group = {_GROUP: "job"} if pod_sets > 1 else {}
    return {_PREFERRED: f"{NETWORK_LAYER}{layers}", **group}
