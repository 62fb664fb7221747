"""TrainJob of Kubeflow Trainer (trainer.kubeflow.org/v1alpha1) on the cluster's runtime for PyTorch."""

from __future__ import annotations

from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.kubernetes import torch_runtime_name
from workloads import entry
from workloads.grace import grace_seconds
from workloads.launchers import SchedulerVariables, Starts
from workloads.render.launcher_support import check_launcher
from workloads.render.manifest import manifest, metadata
from workloads.render.pods import container, template
from workloads.render.runtime_programs import each_rank
from workloads.spec import Format, Run

JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"
"""The label that JobSet gives a pod: its set's name, which is the TrainJob's."""

MANAGER = "trainforge/launch"
"""The owner of the patches of the runtime. Trainer's webhook refuses a name without a domain and a path (trainer 2.3,
jobset.go: IsDomainPrefixedPath)."""

# The runtime's job and its container are both called so (trainer 2.3, constants.go).
_NODE = "node"


def trainjob(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return the manifest.

    Trainer names rank 0's host and port, the node and their number in torchrun's own variables: PET_MASTER_ADDR,
    PET_MASTER_PORT, PET_NODE_RANK, PET_NNODES (trainer 2.3, torch.go). What the trainer's own section cannot say
    (volumes, placement, security) goes in as a patch of the runtime, which Trainer takes since 2.2. How often
    a pod is started again is the runtime's, and cannot be patched. The grace period of a pod is the runtime's too:
    Trainer 2.2 does not know the field in a patch, and a controller built with its types (Kueue 0.19) drops it. So
    there is a runtime for each period.

    Raises:
        ValueError: the launcher is started once per job, the workload has other containers (a patch of Trainer 2.3
            changes the runtime's by name, and has no image), or the cluster info lacks an image or a claim.
    """
    check_launcher(run, Format.TRAINJOB)
    if run.workload.containers:
        raise ValueError(
            f"'{run.workload.name}' has containers besides its program, and a TrainJob cannot add one to its runtime; "
            "take 'pytorchjob'"
        )
    node = container(run, info, _NODE, _script(run, info), job_label=JOB_LABEL)
    document = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": metadata(run, info),
        "spec": {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "ClusterTrainingRuntime",
                "name": torch_runtime_name(grace_seconds(run, info)),
            },
            "trainer": {
                "image": node["image"],
                "command": node["command"],
                "env": node["env"],
                "numNodes": run.nodes,
                "numProcPerNode": run.ranks_per_node,
                # These take the place of the runtime's and are not merged with them: EFA belongs here too.
                "resourcesPerNode": node["resources"],
            },
            "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": _patch(run, info, node)}],
        },
    }
    return manifest(document, header)


def _patch(run: Run, info: ClusterInfo, node: dict[str, Any]) -> dict[str, Any]:
    """Return the patch of the runtime: the pod template, with what may be patched of it."""
    pod = template(run, info, node)
    patched = ("nodeSelector", "affinity", "tolerations", "volumes")
    spec = {
        **{part: pod["spec"][part] for part in patched if part in pod["spec"]},
        "containers": [{part: node[part] for part in ("name", "volumeMounts", "securityContext")}],
    }
    job = {"name": _NODE, "template": {"spec": {"template": {"metadata": pod["metadata"], "spec": spec}}}}
    return {"template": {"spec": {"replicatedJobs": [job]}}}


def _script(run: Run, info: ClusterInfo) -> str:
    variables = SchedulerVariables(
        rank0_host="$PET_MASTER_ADDR",
        node_rank="$PET_NODE_RANK",
        run_id="$RUN_ID",
        nodes="$PET_NNODES",
        port="$PET_MASTER_PORT",
    )
    line = each_rank(run, variables) if run.workload.launcher.starts is Starts.PER_RANK else None
    return entry.unpacking(run) + entry.entry(run, info, variables, line=line)
