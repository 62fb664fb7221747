"""JobSet of Kubernetes (jobset.x-k8s.io/v1alpha2): a Job for each stage of a run and one for the run itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from catalog.cluster_info import ClusterInfo
from workloads import entry
from workloads.launchers import RENDEZVOUS_PORT, SchedulerVariables, Starts
from workloads.render.launcher_support import check_launcher
from workloads.render.manifest import labels, manifest, metadata
from workloads.render.pods import KEPT_SECONDS, container, port, restarts, template
from workloads.render.runtime_programs import each_rank
from workloads.restarts import FINAL_CODES, MAX_RESTARTS
from workloads.spec import Format, Run
from workloads.stage import TRAIN

JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"
"""The label that JobSet gives a pod: its set's name."""

_CONTAINER = "node"
_JOBSET = "JOBSET_NAME"
"""The variable with the set's name, by the pod's label, so that a manifest that is renamed holds."""

_JOB_UID = "JOB_UID"
_UID_LABEL = "batch.kubernetes.io/controller-uid"
"""The variable that tells one start of a stage from another (runtime/stage.py), by Kubernetes' label: a set that is
restarted has new Jobs."""

_FINAL = "PodFailurePolicy"
"""The reason of a Job that failed by a rule of its policy for pods (JobReasonPodFailurePolicy of batch/v1)."""


def jobset(run: Run, info: ClusterInfo, *, header: str = "", stages: Mapping[str, Run] | None = None) -> str:
    """Return the manifest; `stages` are the runs of the stages that come first: None for all that the run needs.

    JobSet makes a headless service of the set's name, in which the pod of a Job's node has the host name
    JOBSET-JOB-0-NODE; Kubernetes tells a pod its number in JOB_COMPLETION_INDEX. JobSet makes a Job when those that it
    depends on are complete.

    A pod that fails ends the attempt of its Job: ranks that wait for a lost one do not notice. JobSet then makes all
    Jobs anew, and stages that are done end at once. (An action that restarts one Job alone, RestartJob, is alpha and
    off in JobSet 0.12.) An exit code that would only come again ends the set.

    Kueue admits a set as a whole, with what all of its Jobs ask for, although one waits for the other: a stage on nodes
    of the run's pool takes a part of the share beside the run. (A pod that asks for nothing does not help: Kueue 0.19
    gives it no flavor, and "no TAS flavor assigned" keeps the set from being admitted.)

    Raises:
        ValueError: a launcher is started once per job, or the cluster info lacks an image or a claim.
    """
    if stages is None:
        stages = {name: run.stage(name) for name in run.dependencies if name != TRAIN}
    # The run's id may have been given to it after its stages were known.
    runs = {name: replace(one, id=run.id) for name, one in stages.items()}
    runs[run.stage_name or TRAIN] = run
    document = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata(run, info),
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "successPolicy": {"operator": "All"},
            "failurePolicy": _failure_policy(run, stages),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "replicatedJobs": [
                _job(
                    run,
                    one,
                    info,
                    name,
                    [first for first in run.dependencies.get(name, ()) if first in stages],
                )
                for name, one in runs.items()
            ],
        },
    }
    return manifest(document, header)


def _failure_policy(run: Run, stages: Mapping[str, Run]) -> dict[str, Any]:
    """Return how often the set is restarted, and what ends it at once.

    Stages can be started again, and a run that does not resume cannot.
    """
    rules: list[dict[str, Any]] = [
        {"name": "final_exit_code", "action": "FailJobSet", "onJobFailureReasons": [_FINAL]}
    ]
    if stages and not restarts(run):
        rules.append({"name": "not_resumed", "action": "FailJobSet", "targetReplicatedJobs": [TRAIN]})
    return {"maxRestarts": MAX_RESTARTS if stages else restarts(run), "rules": rules}


def _job(run: Run, one: Run, info: ClusterInfo, name: str, after: list[str]) -> dict[str, Any]:
    """Return the Job of `one`, which is a stage of the run or the run itself."""
    check_launcher(one, Format.JOBSET)
    return {
        "name": name,
        **({"dependsOn": [{"name": first, "status": "Complete"} for first in after]} if after else {}),
        "replicas": 1,
        "template": {
            "spec": {
                "parallelism": one.nodes,
                "completions": one.nodes,
                "completionMode": "Indexed",
                "backoffLimit": 0,
                "podFailurePolicy": {
                    "rules": [
                        {
                            "action": "FailJob",
                            "onExitCodes": {
                                "containerName": _CONTAINER,
                                "operator": "In",
                                "values": list(FINAL_CODES),
                            },
                        }
                    ]
                },
                "template": _pod(run, one, info, name),
            }
        },
    }


def _pod(run: Run, one: Run, info: ClusterInfo, name: str) -> dict[str, Any]:
    ports = [port("rendezvous", RENDEZVOUS_PORT)]
    node = container(one, info, _CONTAINER, _script(one, info, name), job_label=JOB_LABEL, ports=ports)
    by_label = {_JOBSET: JOB_LABEL, **({_JOB_UID: _UID_LABEL} if one.stage_name else {})}
    node["env"][:0] = [
        {"name": variable, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{label}']"}}}
        for variable, label in by_label.items()
    ]
    pod = template(one, info, node)
    pod["spec"]["restartPolicy"] = "Never"
    # Who looks for the run's pods finds those of its stages, too.
    pod["metadata"]["labels"] = labels(run, info)
    return pod


def _script(run: Run, info: ClusterInfo, name: str) -> str:
    variables = SchedulerVariables(
        rank0_host=f"${_JOBSET}-{name}-0-0.${_JOBSET}",
        node_rank="$JOB_COMPLETION_INDEX",
        run_id="$RUN_ID",
        nodes=str(run.nodes),
    )
    line = each_rank(run, variables) if run.workload.launcher.starts is Starts.PER_RANK else None
    return entry.unpacking(run) + entry.entry(run, info, variables, line=line)
