"""The placement of pods: nodes of the run's type, healthy ones on HyperPod, one pod per node."""

from __future__ import annotations

from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import KINDS
from catalog.kubernetes import (
    INSTANCE_TYPE_LABEL,
    POOL_LABEL,
    device,
    device_tolerations,
    lost_node_tolerations,
)
from workloads.render.manifest import MANAGED_BY
from workloads.spec import Run

# Sources of the labels: sagemaker-hyperpod-cli 3.9 (command_constants.py, NODE_AFFINITY_DICT), and for the group's
# the predecessor's mental model of HyperPod (awslabs/awsome-distributed-ai, devops-agent).
_HEALTH = "sagemaker.amazonaws.com/node-health-status"
_DEEP_HEALTH = "sagemaker.amazonaws.com/deep-health-check-status"
_GROUP = "sagemaker.amazonaws.com/instance-group-name"


def placement(run: Run, info: ClusterInfo) -> dict[str, Any]:
    """Return the parts of a pod that choose its node: selector, affinity and tolerations."""
    affinity = {**_healthy(info), **_alone(run)}
    return {
        "nodeSelector": _selector(run, info),
        **({"affinity": affinity} if affinity else {}),
        "tolerations": [*_tolerations(run, info), *lost_node_tolerations()],
    }


def _selector(run: Run, info: ClusterInfo) -> dict[str, str]:
    """Choose nodes by type and by the pool where it is known: another of the type may be Spot, or kept for others."""
    if not KINDS[info.cluster].sagemaker:
        return {
            INSTANCE_TYPE_LABEL: run.instance_type,
            **({POOL_LABEL: run.pool.name} if run.pool.name else {}),
        }
    group = info.instance_groups.get(run.pool.name)
    return {INSTANCE_TYPE_LABEL: f"ml.{run.instance_type}", **({_GROUP: group} if group else {})}


def _healthy(info: ClusterInfo) -> dict[str, Any]:
    """Take only nodes that HyperPod's monitoring calls schedulable, and rather those that passed the deep checks."""
    if not KINDS[info.cluster].sagemaker:
        return {}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [_is_in(_HEALTH, "Schedulable")]}]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "preference": {"matchExpressions": [_is_in(_DEEP_HEALTH, "Passed")]}}
            ],
        }
    }


def _is_in(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}


def _alone(run: Run) -> dict[str, Any]:
    """Keep a run on processors off nodes of another of ours; one on accelerators asks for all of them anyway."""
    if run.accelerators_per_node:
        return {}
    return {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {MANAGED_BY: "trainforge"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }


def _tolerations(run: Run, info: ClusterInfo) -> list[dict[str, str]]:
    """Tolerate the taint of accelerated nodes, and those of the pool."""
    devices = device_tolerations([device(run.facts)])
    pool = [dict(one) for one in info.tolerations.get(run.pool.name, ())]
    return [*devices, *(one for one in pool if (one["key"], one["effect"]) not in _covered(devices))]


def _covered(tolerations: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(one["key"], one["effect"]) for one in tolerations}
