"""The exporter of runs on Kubernetes: one pod per cluster, which reads the shared file system of the jobs."""

from __future__ import annotations

from typing import Any

from catalog.kubernetes import POOL_LABEL, SHARED_CLAIM
from catalog.ports import RUNS_EXPORTER_PORT
from trainforge.eks.exporter_pods import ExporterPod
from trainforge.eks.node_group import SYSTEM_POOL

NAME = "runs-exporter"

_FOLDER = "/shared"


def runs_exporter(namespace: str, *, image: str, claim: str = SHARED_CLAIM) -> list[dict[str, Any]]:
    """Return the objects of the exporter in the namespace of the jobs, which has the claim of the file system.

    `image` is the exporters' image, of the architecture of the system nodes, where the pod runs: a job that asks for a
    whole node finds none where another pod is. It reads what the jobs' guards have written, which everybody may read,
    and cannot write. There is never a second one at a time: each would export every run.
    """
    pod = ExporterPod(
        name=NAME,
        image=image,
        arguments=["runs", f"--runs={_FOLDER}/runs"],
        port=RUNS_EXPORTER_PORT,
        volume={"name": "shared", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},
        folder=_FOLDER,
        memory_limit="512Mi",
        more={"nodeSelector": {POOL_LABEL: SYSTEM_POOL}},
    )
    return [
        *pod.around(namespace),
        pod.controlled("Deployment", namespace, {"replicas": 1, "strategy": {"type": "Recreate"}}),
    ]
