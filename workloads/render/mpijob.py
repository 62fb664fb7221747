"""MPIJob of Kubeflow's MPI operator (kubeflow.org/v2beta1): mpirun on rank 0's node, sshd on the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalog.cluster_info import ClusterInfo
from workloads import entry
from workloads.launchers import SchedulerVariables, forwarded
from workloads.program import FOLDER_VARIABLE
from workloads.render.launcher_support import check_launcher
from workloads.render.manifest import manifest, metadata
from workloads.render.pods import container, port, restarts, template
from workloads.render.runtime_programs import check_first, hosts_by_address
from workloads.spec import Format, Run

JOB_LABEL = "training.kubeflow.org/job-name"
"""The label that the operator gives a pod: its job's name."""

HOSTFILE = "/etc/mpi/hostfile"
"""File with the nodes' names, which the operator mounts."""

_HOSTS = "/tmp/trainforge-hosts"  # noqa: S108 -- of a pod's own
"""The same nodes by address."""

_SSH_FOLDER = "/root/.ssh"
_SSH_PORT = 22
# The job's own key, made by the operator, serves as the host's too: an image must not carry one. Its hosts are
# pods that live once, so there is nothing to compare a host's key with.
_SSHD = f"/usr/sbin/sshd -De -p {_SSH_PORT} -h {_SSH_FOLDER}/id_rsa -o StrictModes=no"
_SSH_OPTIONS = (
    f"-p {_SSH_PORT} -o ConnectionAttempts=10 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
)


def mpijob(run: Run, info: ClusterInfo, *, header: str = "") -> str:
    """Return the manifest.

    The launcher is a node of the run itself, rank 0's, so that a run of n nodes takes n (`runLauncherAsWorker`,
    MPI operator 0.5 and newer). It starts when sshd of all others answers, looks at every node with the launch
    guard, and then starts mpirun over the operator's hosts, by their addresses. The image needs Open MPI, sshd and ssh.

    Raises:
        ValueError: the launcher is not started once per job, or the cluster info lacks an image or a claim.
    """
    check_launcher(run, Format.MPIJOB)
    replicas = {"Launcher": _launcher(run, info)}
    if run.nodes > 1:
        replicas["Worker"] = _workers(run, info)
    document = {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": metadata(run, info),
        "spec": {
            "slotsPerWorker": run.ranks_per_node,
            "runLauncherAsWorker": True,
            "launcherCreationPolicy": "WaitForWorkersReady",
            "mpiImplementation": "OpenMPI",
            "sshAuthMountPath": _SSH_FOLDER,
            # Workers wait without end: they are ended with the job. The launcher stays, and its log with it.
            "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": restarts(run)},
            "mpiReplicaSpecs": replicas,
        },
    }
    return manifest(document, header)


def _launcher(run: Run, info: ClusterInfo) -> dict[str, Any]:
    node = container(run, info, "launcher", _script(run, info), job_label=JOB_LABEL, serves_ssh=True)
    # Open MPI refuses root elsewhere; here there is no other user.
    node["env"] += [
        {"name": name, "value": "1"} for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
    ]
    return {
        "replicas": 1,
        "restartPolicy": "Never",
        "template": template(run, info, node, pod_sets=min(run.nodes, 2)),
    }


def _workers(run: Run, info: ClusterInfo) -> dict[str, Any]:
    # Ranks of this node start here, and from a login by ssh nothing would unpack their code.
    script = f"set -euo pipefail\n{entry.unpacking(run)}mkdir -p /run/sshd\nexec {_SSHD}"
    ports = [port("ssh", _SSH_PORT)]
    node = container(run, info, "worker", script, job_label=JOB_LABEL, ports=ports, serves_ssh=True)
    node["readinessProbe"] = {"tcpSocket": {"port": _SSH_PORT}, "periodSeconds": 2}
    return {
        "replicas": run.nodes - 1,
        "restartPolicy": "OnFailure",
        "template": template(run, info, node, pod_sets=min(run.nodes, 2)),
    }


def _script(run: Run, info: ClusterInfo) -> str:
    variables = SchedulerVariables(
        rank0_host="$HOSTNAME",
        node_rank="0",
        run_id="$RUN_ID",
        nodes=str(run.nodes),
        # mpirun starts all ranks from here, so there is one guard, which goes by the lines of progress.
        guards="1",
        hosts=("--hostfile", _HOSTS, "--mca", "plm_rsh_args", _SSH_OPTIONS, *forwarded(_forwarded(run))),
    )
    launcher = run.workload.launcher
    line = launcher.line(run, variables, entry.program(run))
    if run.accelerated and run.nodes > 1:
        # Every node is looked at before any rank starts.
        guard = entry.guard(run, replace(variables, node_rank="1"), watch=False)
        line = check_first(run, launcher.on_each_node(variables, [*guard, "true"]), line)
    line = hosts_by_address(run, HOSTFILE, _HOSTS, line)
    return entry.unpacking(run) + entry.entry(run, info, variables, line=line)


def _forwarded(run: Run) -> list[str]:
    """Return the variables that ranks of other nodes get from mpirun: a login by ssh has none of the pod's."""
    return [
        "RUN_FOLDER",
        *(asset.variable for asset in run.workload.assets),
        *([FOLDER_VARIABLE] if entry.knows_folder(run) else []),
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        *entry.environment(run),
        *entry.neuron_cache(run, ""),
        *entry.hub_home(run, "", ""),
        # The guard sets where NCCL logs to.
        *(["NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"] if run.kind == "gpu" else []),
        *(secret.variable for secret in run.workload.secrets),
    ]
