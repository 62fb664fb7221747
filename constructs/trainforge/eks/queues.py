"""Kueue's objects of a cluster: a flavor for each pool with its network's levels, and queues with shares of pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog.efa import efa_environment
from catalog.instance_facts import InstanceFacts
from catalog.instances import instance
from catalog.job_queues import Queue
from catalog.kubernetes import (
    EFA,
    HUGE_PAGES,
    INSTANCE_TYPE_LABEL,
    NETWORK_LAYER,
    POOL_LABEL,
    device,
    device_tolerations,
    huge_pages_mib,
    lost_node_tolerations,
    pod_memory_mib,
    pod_millicores,
)
from catalog.pool import Pool
from catalog.ports import KUEUE_METRICS_PORT
from catalog.slurm import slurm_topology

API = "kueue.x-k8s.io/v1beta2"

DEFAULT_QUEUE = "default"
"""The queue of jobs that name none: Kueue gives them to the local queue of this name (kueue 0.19)."""

FAILURE_RECOVERY = "FailureRecoveryPolicy"
"""Kueue's gate for deleting pods of lost nodes by force, which their annotation allows."""

_HOST = "kubernetes.io/hostname"
_MIB = ("memory", HUGE_PAGES)


def requests(pool: Pool) -> dict[str, int]:
    """Return what a pod that has a node of the pool asks for: thousandths of a vCPU, MiB, and devices.

    It is what our manifests ask for, so that a pool's quota is used up when its nodes are.

    Raises:
        UnknownInstanceTypeError: the catalog does not have the pool's instance type.
    """
    facts = instance(pool.instance_type)
    vcpus = slurm_topology(facts, pool.threads_per_core).cpus
    asked = {"cpu": pod_millicores(vcpus), "memory": pod_memory_mib(facts, vcpus)}
    if facts.is_accelerated:
        asked[device(facts)] = facts.accelerators
        if facts.efa_interfaces:
            asked[EFA] = facts.efa_interfaces
            if efa_environment(facts).get("FI_EFA_USE_HUGE_PAGE") != "0":
                asked[HUGE_PAGES] = huge_pages_mib(facts, vcpus)
    return asked


def levels(facts: InstanceFacts) -> list[str]:
    """Return the labels of a type's network levels, the farthest first and the node itself last.

    Kueue takes only nodes that carry every one, so types whose place in the network EC2 does not tell have the last
    alone.
    """
    return [*(f"{NETWORK_LAYER}{layer}" for layer in range(1, (facts.topology_layers or 0) + 1)), _HOST]


def kueue_objects(
    pools: Sequence[Pool], queues: Sequence[Queue], *, namespace: str, cohort: str
) -> list[dict[str, Any]]:
    """Return topologies, a flavor for each pool, and the queues; jobs that name none go to the first.

    Queues that borrow are of one cohort, and take back at once what others have borrowed of theirs.

    Raises:
        UnknownInstanceTypeError: the catalog does not have a pool's instance type.
    """
    used = [pool for pool in pools if any(queue.nodes.get(pool.name) for queue in queues)]
    depths = sorted({len(levels(instance(pool.instance_type))) for pool in used})
    locals_ = [(queue.name, queue.name) for queue in queues]
    if DEFAULT_QUEUE not in dict(locals_):
        locals_.insert(0, (DEFAULT_QUEUE, queues[0].name))
    return [
        *(_topology(depth, used) for depth in depths),
        *(_flavor(pool) for pool in used),
        *(_cluster_queue(queue, used, namespace=namespace, cohort=cohort) for queue in queues),
        *(_local_queue(name, target, namespace) for name, target in locals_),
    ]


def kueue_values(frameworks: Sequence[str]) -> dict[str, Any]:
    """Return the values of Kueue's chart: what it manages, and nothing that this cluster has no kind of.

    Nothing in Kubernetes deletes the pods of a node that stopped responding for good, and their job waits for that.
    Kueue does, where its gate is on (alpha since 0.15).
    """
    # Kueue reads the file as it is; there is no finer value. All but the frameworks and the metrics of queues is
    # what the chart's own file says (kueue 0.19): without its rates, Kueue sends 20 requests a second, and releases
    # the pods of a large job by them.
    lines = [
        "apiVersion: config.kueue.x-k8s.io/v1beta2",
        "kind: Configuration",
        "clientConnection: {qps: 300, burst: 500}",
        "controller:",
        "  groupKindConcurrency:",
        "    ClusterQueue.kueue.x-k8s.io: 5",
        "    Job.batch: 5",
        "    LocalQueue.kueue.x-k8s.io: 5",
        "    Pod: 5",
        "    ResourceFlavor.kueue.x-k8s.io: 1",
        "    Workload.kueue.x-k8s.io: 10",
        "health: {healthProbeBindAddress: ':8081'}",
        # Quota and use of queues are metrics only if asked for.
        f"metrics: {{bindAddress: ':{KUEUE_METRICS_PORT}', enableClusterQueueResources: true}}",
        "webhook: {port: 9443}",
        "leaderElection: {leaderElect: true, resourceName: c1f6bfd2.kueue.x-k8s.io}",
        "integrations:",
        "  frameworks:",
        *(f"  - {framework}" for framework in frameworks),
    ]
    return {
        "controllerManager": {"featureGates": [{"name": FAILURE_RECOVERY, "enabled": True}]},
        "managerConfig": {"controllerManagerConfigYaml": "\n".join(lines) + "\n"},
    }


def _topology_name(depth: int) -> str:
    return f"network-{depth - 1}-layers" if depth > 1 else "nodes"


def _topology(depth: int, pools: Sequence[Pool]) -> dict[str, Any]:
    named = next(found for pool in pools if len(found := levels(instance(pool.instance_type))) == depth)
    return _object("Topology", _topology_name(depth), {"levels": [{"nodeLabel": label} for label in named]})


def flavor(pool: Pool) -> str:
    """Return the name of a pool's flavor: labels of a flavor never change, so another type is another flavor."""
    return f"{pool.name}-{pool.instance_type.replace('.', '-')}"


def _flavor(pool: Pool) -> dict[str, Any]:
    """Return a pool's flavor: a job that selects an instance type fits where the flavor names the same."""
    facts = instance(pool.instance_type)
    spec: dict[str, Any] = {
        "nodeLabels": {POOL_LABEL: pool.name, INSTANCE_TYPE_LABEL: pool.instance_type},
        "topologyName": _topology_name(len(levels(facts))),
    }
    # Kueue weighs taints of nodes when it chooses them, and adds these tolerations to the pods. All that a job of ours
    # has are here, because a TrainJob gets them by a patch (kueue 0.19), which may replace the list of the job's own.
    spec["tolerations"] = [*device_tolerations([device(facts)]), *lost_node_tolerations()]
    return _object("ResourceFlavor", flavor(pool), spec)


def _cluster_queue(queue: Queue, pools: Sequence[Pool], *, namespace: str, cohort: str) -> dict[str, Any]:
    """Return a queue over all pools that any queue has: of a pool that is not its own it has nothing to lend."""
    own = pools if queue.borrow else [pool for pool in pools if queue.nodes.get(pool.name)]
    # Every flavor of a group must state every resource of it, in one order.
    covered = list(dict.fromkeys(name for pool in own for name in requests(pool)))
    flavors = [
        {
            "name": flavor(pool),
            "resources": [
                {
                    "name": name,
                    "nominalQuota": _quantity(
                        name, requests(pool).get(name, 0) * queue.nodes.get(pool.name, 0)
                    ),
                }
                for name in covered
            ],
        }
        for pool in own
    ]
    spec: dict[str, Any] = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "queueingStrategy": "BestEffortFIFO",
        "resourceGroups": [{"coveredResources": covered, "flavors": flavors}],
        "preemption": {"withinClusterQueue": "LowerPriority"},
    }
    if queue.borrow:
        spec |= {
            "cohortName": cohort,
            "preemption": {"withinClusterQueue": "LowerPriority", "reclaimWithinCohort": "Any"},
        }
    return _object("ClusterQueue", queue.name, spec)


def _quantity(name: str, amount: int) -> str:
    """Return an amount as Kubernetes writes it."""
    if name == "cpu":
        return f"{amount}m"
    return f"{amount}Mi" if name in _MIB else str(amount)


def _local_queue(name: str, target: str, namespace: str) -> dict[str, Any]:
    made = _object("LocalQueue", name, {"clusterQueue": target})
    made["metadata"]["namespace"] = namespace
    return made


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
