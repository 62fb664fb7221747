"""PyTorchJob of Kubeflow's training operator (kubeflow.org/v1): a master, which is rank 0's node, and workers."""

from __future__ import annotations

from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import KINDS
from catalog.kubernetes import auto_resumed
from workloads import entry
from workloads.launchers import RENDEZVOUS_PORT, SchedulerVariables, Starts
from workloads.render.launcher_support import check_launcher
from workloads.render.manifest import manifest, metadata
from workloads.render.pods import container, port, restarts, template
from workloads.render.runtime_programs import each_rank
from workloads.spec import Format, Run

JOB_LABEL = "training.kubeflow.org/job-name"
"""The label that the operator gives a pod: its job's name."""

# The operator looks for both names (training-operator 1.9, pytorch_types.go).
_CONTAINER = "pytorch"
_PORT = "pytorchjob-port"

_NOT_RESUMED = (
    "HyperPod does not resume this job by itself when a node is lost: it does so in the namespace 'kubeflow' and in "
    "those whose name begins with 'hyperpod', not in '{}'."
)


def pytorchjob(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return the manifest.

    The operator names rank 0's host and port, the node and their number: MASTER_ADDR, MASTER_PORT, PET_NNODES and
    RANK, which here is the node's and not the process's (training-operator 1.7 to 1.9, envvar.go). A pod that
    fails is started again in place, or created again when its node is lost.

    On HyperPod the annotations let its resilience replace a faulty node and start the job again. SageMaker does not
    do so in every namespace: elsewhere the annotations would have no effect, and a comment
    replaces them.

    Raises:
        ValueError: the launcher is started once per job, or the cluster info lacks an image or a claim.
    """
    check_launcher(run, Format.PYTORCHJOB)
    script = _script(run, info)
    job = metadata(run, info)
    if KINDS[info.cluster].sagemaker and run.resumes and not auto_resumed(info.namespace):
        header = f"{header}\n{_NOT_RESUMED.format(info.namespace)}".strip()
    elif KINDS[info.cluster].sagemaker and run.resumes:
        job["annotations"] = {
            "sagemaker.amazonaws.com/enable-job-auto-resume": "true",
            "sagemaker.amazonaws.com/job-max-retry-count": str(restarts(run)),
        }
    replicas = {"Master": 1, "Worker": run.nodes - 1}
    document = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": job,
        "spec": {
            "nprocPerNode": str(run.ranks_per_node),
            # Pods that have ended stay, and their logs with them.
            "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": restarts(run)},
            "pytorchReplicaSpecs": {
                kind: _replicas(run, info, script, number) for kind, number in replicas.items() if number
            },
        },
    }
    return manifest(document, header)


def _replicas(run: Run, info: ClusterInfo, script: str, number: int) -> dict[str, Any]:
    ports = [port(_PORT, RENDEZVOUS_PORT)]
    node = container(run, info, _CONTAINER, script, job_label=JOB_LABEL, ports=ports)
    return {
        "replicas": number,
        "restartPolicy": "OnFailure" if restarts(run) else "Never",
        "template": template(run, info, node, pod_sets=min(run.nodes, 2)),
    }


def _script(run: Run, info: ClusterInfo) -> str:
    variables = SchedulerVariables(
        rank0_host="$MASTER_ADDR",
        node_rank="$RANK",
        run_id="$RUN_ID",
        # Since 1.7 the operator counts the replicas, so a manifest whose number was edited holds.
        nodes=f"${{PET_NNODES:-{run.nodes}}}",
        port="$MASTER_PORT",
    )
    line = each_rank(run, variables) if run.workload.launcher.starts is Starts.PER_RANK else None
    return entry.unpacking(run) + entry.entry(run, info, variables, line=line)
