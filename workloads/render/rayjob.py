"""RayJob of KubeRay (ray.io/v1): a head with the driver, and a group of workers with the ranks of a node each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.kubernetes import pod_memory_mib, pod_millicores
from workloads import entry
from workloads.launchers import SchedulerVariables
from workloads.render.launcher_support import check_launcher
from workloads.render.manifest import INSTANCE, manifest, metadata, verbatim
from workloads.render.pods import container, resources, restarts, template
from workloads.spec import Format, Run

JOB_LABEL = INSTANCE
"""The label of the pods with the run's name: KubeRay gives them that of the cluster, which is another at each start."""

NODE_TYPE = "ray.io/node-type"
"""KubeRay's label of pods: head or worker."""

WORKERS = "nodes"
"""The name of the group of workers."""

HEAD_MILLICORES, HEAD_MEMORY_MIB = 2000, 8192
"""The head's share of a node at most, our choice, and never more than a quarter: the ranks of every node have the rest.
"""

KEPT_SECONDS = 60
"""Seconds that the pods of a run stay after its end, so that the last lines of its log are read: our choice."""

_CONTAINER = "node"
_DRIVER = "DRIVER"
"""The variable of the head with the script of the driver, which the cluster starts by `sh`."""

_START = ("bash", "-c", "$KUBERAY_GEN_RAY_START_CMD")
"""The words of `ray start` that KubeRay writes into this variable of each pod (kuberay 1.5, pod.go)."""

_ENTRYPOINT = f"exec bash -c 'exec bash -c \"${_DRIVER}\" > >(tee /proc/1/fd/1) 2>&1'"
"""The command of the driver. Its output is that of the head's first process too, which `kubectl logs` shows."""


def rayjob(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return the manifest.

    KubeRay makes a cluster of the head and the workers, asks the head to start the driver, and deletes the cluster at
    the end. In HTTPMode no other pod submits the driver, which would need a share of the queue and the image once more.
    The head needs no accelerator and is on one of the run's nodes, so it takes no node of its own; no rank runs in it.
    A lost worker is replaced, and the program resumes on the same cluster. A lost head, or a driver that failed, makes
    KubeRay start all anew.

    The launch guard looks at every worker's node before `ray start`. Progress is watched by the guard of the
    driver, which sees the lines of all ranks.

    Raises:
        ValueError: the launcher starts no driver of a RayCluster, or the cluster info lacks an image or a claim.
    """
    check_launcher(run, Format.RAYJOB)
    job = metadata(run, info)
    # Commands of containers are ours, and run KubeRay's.
    job["annotations"] = {"ray.io/overwrite-container-cmd": "true"}
    store = str(run.workload.launcher.object_store_bytes)
    gpus = {"num-gpus": str(run.gpus_per_node)} if run.gpus_per_node else {}
    document = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": job,
        "spec": {
            "submissionMode": "HTTPMode",
            "entrypoint": _ENTRYPOINT,
            "backoffLimit": restarts(run),
            # Queues demand it: a cluster that stays would keep its share.
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "rayClusterSpec": {
                "headGroupSpec": {
                    # No rank runs where there is no processor to give.
                    "rayStartParams": {"num-cpus": "0", "object-store-memory": store},
                    "template": _head(run, info),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": WORKERS,
                        "replicas": run.nodes,
                        "minReplicas": run.nodes,
                        "maxReplicas": run.nodes,
                        "rayStartParams": {
                            "num-cpus": str(run.ranks_per_node),
                            **gpus,
                            "object-store-memory": store,
                        },
                        "template": _worker(run, info),
                    }
                ],
            },
        },
    }
    return manifest(document, header)


def _head(run: Run, info: ClusterInfo) -> dict[str, Any]:
    variables = _variables(run)
    start = entry.entry(run, info, variables, line=_START, guarded=False)
    node = container(run, info, _CONTAINER, entry.unpacking(run) + start, job_label=JOB_LABEL)
    program = [*entry.guard(run, variables, devices=False), *entry.program(run)]
    driver = entry.entry(run, info, variables, line=program, guarded=False)
    node["env"].append({"name": _DRIVER, "value": verbatim(driver)})
    cpu, memory = _share(run)
    node["resources"] = {"requests": {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}}
    pod = template(run, info, node, pod_sets=2)
    # Containers besides the program are on the nodes of ranks.
    pod["spec"].pop("initContainers", None)
    # A worker of its own run may be beside it.
    pod["spec"].get("affinity", {}).pop("podAntiAffinity", None)
    if pod["spec"].get("affinity") == {}:
        del pod["spec"]["affinity"]
    return pod


def _worker(run: Run, info: ClusterInfo) -> dict[str, Any]:
    variables = replace(_variables(run), node_rank="1")
    line = [*entry.guard(run, variables, watch=False), *_START]
    script = entry.unpacking(run) + entry.entry(run, info, variables, line=line, guarded=False)
    node = container(run, info, _CONTAINER, script, job_label=JOB_LABEL)
    cpu, memory = _share(run)
    asked = resources(run)
    asked["requests"] |= {
        "cpu": f"{int(asked['requests']['cpu'].removesuffix('m')) - cpu}m",
        "memory": f"{int(asked['requests']['memory'].removesuffix('Mi')) - memory}Mi",
    }
    node["resources"] = asked
    pod = template(run, info, node, pod_sets=2)
    for term in (
        pod["spec"]
        .get("affinity", {})
        .get("podAntiAffinity", {})
        .get("requiredDuringSchedulingIgnoredDuringExecution", ())
    ):
        term["labelSelector"]["matchExpressions"] = [
            {"key": NODE_TYPE, "operator": "NotIn", "values": ["head"]}
        ]
    # One of them takes the node of the head, which would keep other jobs from a node that is empty but for it.
    pod["spec"].setdefault("affinity", {})["podAffinity"] = {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "labelSelector": {"matchLabels": {INSTANCE: run.name, NODE_TYPE: "head"}},
                    "topologyKey": "kubernetes.io/hostname",
                },
            }
        ]
    }
    return pod


def _share(run: Run) -> tuple[int, int]:
    """Return the head's share of a node: thousandths of a processor, and MiB."""
    cpu, memory = pod_millicores(run.vcpus), pod_memory_mib(run.facts, run.vcpus)
    return min(HEAD_MILLICORES, cpu // 4), min(HEAD_MEMORY_MIB, memory // 4)


def _variables(run: Run) -> SchedulerVariables:
    return SchedulerVariables(
        rank0_host="$HOSTNAME",
        node_rank="0",
        run_id="$RUN_ID",
        nodes=str(run.nodes),
        # The driver prints for all, so there is one guard, which goes by the lines of progress.
        guards="1",
    )
