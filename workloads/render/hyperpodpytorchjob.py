"""HyperPodPyTorchJob of SageMaker HyperPod's training operator (sagemaker.amazonaws.com/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.cluster_info import ClusterInfo
from workloads import entry
from workloads.launchers import SchedulerVariables, torch_words
from workloads.progress import PrintedBy, Progress
from workloads.render.launcher_support import check_launcher
from workloads.render.manifest import INSTANCE, manifest, metadata
from workloads.render.pods import KEPT_SECONDS, container, port, restarts, template
from workloads.restarts import WATCHER_MARGIN_SECONDS
from workloads.spec import Format, Run

REPLICAS = "pods"
"""The name of the job's pods: the operator calls them JOB-pods-0 and so on."""

AGENT_PORT = 8080
"""Port on which the agent of a pod listens to the operator: hyperpodrun's own default."""

SHUTDOWN_SECONDS = 60
"""Seconds that ranks have to write a checkpoint before the agent kills them: our choice. It also holds up every restart
after a fault, when the other ranks wait for one that is gone."""


def hyperpodpytorchjob(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return the manifest.

    `hyperpodrun` of hyperpod-elastic-agent takes the place of torchrun; the image must have it. It takes
    torchrun's arguments, but the operator assigns the ranks and restarts processes, pods or the job, without
    starting the pods again where that is enough. The agent of each pod reads the standard output of its local
    rank 0 and calls the job hung where progress lines stay out; see `_watched`.

    Raises:
        ValueError: no other agent can take the launcher's place, or the cluster info lacks an image or a claim.
    """
    check_launcher(run, Format.HYPERPODPYTORCHJOB)
    ports = [port("agent", AGENT_PORT)]
    node = container(run, info, "pytorch", _script(run, info), job_label=INSTANCE, ports=ports)
    document = {
        "apiVersion": "sagemaker.amazonaws.com/v1",
        "kind": "HyperPodPyTorchJob",
        "metadata": metadata(run, info),
        "spec": {
            "nprocPerNode": str(run.ranks_per_node),
            "runPolicy": _policy(run),
            "replicaSpecs": [
                {"name": REPLICAS, "replicas": run.nodes, "template": template(run, info, node)}
            ],
        },
    }
    return manifest(document, header)


def _policy(run: Run) -> dict[str, Any]:
    """Return how the job restarts. The restart limits are those of AWS's own example.

    Source: SageMaker guide, "Using the training operator to run jobs".
    """
    again = restarts(run)
    return {
        # Pods that have ended stay, and their logs with them.
        "cleanPodPolicy": "None",
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "jobMaxRetryCount": again,
        "restartPolicy": {
            "numRestartBeforeFullJobRestart": 3 if again else 0,
            "evalPeriodSeconds": 21600,
            "maxFullJobRestarts": 1 if again else 0,
        },
        **({"logMonitoringConfiguration": _watched(run.progress)} if _is_watched(run) else {}),
    }


def _is_watched(run: Run) -> bool:
    """Return whether the program's progress is known, and every pod prints what the rules wait for.

    The rules are the job's, and every pod's agent holds its own local rank 0 to them (hyperpod-elastic-agent,
    `start_log_monitoring`): if rank 0 alone prints its steps, all other pods would count as hung.
    """
    return bool(run.progress.pattern) and (run.nodes == 1 or _each_node(run))


def _each_node(run: Run) -> bool:
    """Return whether the program can print its progress on every node."""
    return run.workload.progress.printed_by is PrintedBy.EVERY_NODE


def _watched(progress: Progress) -> list[dict[str, Any]]:
    """Return what the agent waits for: the first line of progress, then the next ones.

    The agent matches from the beginning of a line, and a pattern of ours may be anywhere in it. The launch guard ends
    such a run before, with the stacks of its ranks; the agent is there for when the guard cannot.
    """
    # Read in hyperpod-elastic-agent 1.1.3, log_agent.py.
    pattern = f".*(?:{progress.pattern})"
    return [
        {
            "name": "JobStart",
            "logPattern": pattern,
            "expectedStartCutOffInSeconds": progress.start_seconds + WATCHER_MARGIN_SECONDS,
        },
        {
            "name": "JobHangingDetection",
            "logPattern": pattern,
            "expectedRecurringFrequencyInSeconds": progress.stall_seconds + WATCHER_MARGIN_SECONDS,
        },
    ]


def _script(run: Run, info: ClusterInfo) -> str:
    variables = SchedulerVariables(
        # Only the agent knows it, and tells its ranks.
        rank0_host="$MASTER_ADDR",
        # The operator assigns ranks later; the guard only wants to be first on one of the nodes.
        node_rank="${HOSTNAME##*-}",
        run_id="$RUN_ID",
        nodes=str(run.nodes),
    )
    before, program = "", entry.program(run)
    needed = run.workload.launcher.agent_environment
    if needed:
        before = _rank(needed)
        program = ["bash", "-c", "$RANK_START", "bash", *program]
    return (
        entry.unpacking(run)
        + before
        + entry.entry(run, info, variables, line=[*_agent(run), *torch_words(program)])
    )


def _rank(variables: Mapping[str, str]) -> str:
    """Return a script in a variable that sets what a rank learns from the agent alone, and starts it."""
    exports = "\n".join(f'export {name}="{value}"' for name, value in variables.items())
    return f"""\
# A rank learns from the agent where rank 0 is.
read -r -d '' RANK_START <<'END_OF_RANK' || true
set -euo pipefail
{exports}
exec "$@"
END_OF_RANK
export RANK_START
"""


def _agent(run: Run) -> list[str]:
    """Return the agent's words before the program's. It reads NNODES besides its argument, and logs only with --tee."""
    return [
        "env",
        f"NNODES={run.nodes}",
        # What every agent watches, every node has to print.
        *(["TRAINFORGE_PROGRESS=each-node"] if _each_node(run) else []),
        "hyperpodrun",
        f"--nnodes={run.nodes}",
        f"--nproc-per-node={run.ranks_per_node}",
        "--rdzv-backend=hyperpod",
        f"--server-port={AGENT_PORT}",
        "--shutdown-signal=SIGTERM",
        f"--shutdown-timeout={SHUTDOWN_SECONDS}",
        "--tee=3",
        "--log-dir=${TMPDIR:-/tmp}/hyperpod",
    ]
