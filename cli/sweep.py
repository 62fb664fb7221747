"""`trainforge sweep`: the health checks of a cluster's idle nodes, each as a job of its own, with one verdict."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalog.cluster_kinds import EKS, HYPERPOD, HYPERPOD_EKS, PARALLELCLUSTER
from cli.mistakes import fail
from cli.run_options import Cluster, Config

if TYPE_CHECKING:
    from catalog.cluster_info import ClusterInfo

_KUBERNETES = (EKS.name, HYPERPOD_EKS.name)
_CLUSTERS = (HYPERPOD.name, PARALLELCLUSTER.name, *_KUBERNETES)
_SUITES = ("standard", "deep")
_POLL_SECONDS = 5
_SLURM = ("sinfo", "sbatch", "squeue", "scancel", "scontrol")


def sweep(
    on: Cluster,
    suite: Annotated[
        str,
        typer.Option("--suite", metavar="SUITE", help="standard: minutes; deep: up to an hour and more."),
    ] = _SUITES[0],
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", metavar="POOL", help="With Slurm: this pool alone; may be repeated."),
    ] = None,
    config: Config = None,
    info_file: Annotated[
        Path | None,
        typer.Option("--cluster-info", metavar="FILE", help="The cluster's info as JSON, in place of SSM's."),
    ] = None,
) -> None:
    """Check the health of idle nodes by a longer suite.

    Nodes with jobs are left out, and a job that needs a node meanwhile goes before its check. The result of each node
    is recorded where the health agent's are, and the agent acts on it as the configuration says. Prints a table; the
    worst node counts.

    With Slurm, run it as root on a machine of the cluster; nodes need 'node_setup.health'. On Kubernetes it starts
    the CronJob of 'health.sweep' of the cluster's section now, by kubectl.

    Exit code: 0, all checked nodes are usable; 1, a fault; 2, it cannot run; 3, something could not be judged.
    """
    from catalog.spelling import did_you_mean
    from cli.connect import info_of

    problems = []
    if on not in _CLUSTERS:
        problems.append(
            f"cluster '{on}' has no sweep{did_you_mean(on, _CLUSTERS)}; it is one of {', '.join(_CLUSTERS)}"
        )
    if suite not in _SUITES:
        problems.append(f"suite '{suite}' is not one of {', '.join(_SUITES)}{did_you_mean(suite, _SUITES)}")
    if pool and on in _KUBERNETES:
        problems.append(
            "'--pool' is for clusters with Slurm; on Kubernetes all accelerated nodes are checked"
        )
    if problems:
        fail(*problems)
    info = info_of(on, config, info_file)
    code = _kubernetes(info, suite) if on in _KUBERNETES else _slurm(info, suite, pool or [])
    raise typer.Exit(code)


def _slurm(info: ClusterInfo, suite: str, pools: list[str]) -> int:
    """Run the sweep that nodes have too, on this machine."""
    if TYPE_CHECKING:
        # By the name that the module has on a node.
        from health.slurm_sweep import main
    else:
        from workloads.runtime.health.slurm_sweep import main

    absent = [name for name in _SLURM if not shutil.which(name)]
    if absent:
        fail(
            f"{', '.join(absent)}: not on this machine; run this on the cluster, after 'trainforge connect "
            f"{info.cluster}'"
        )
    partitions = [f"--partition={info.partitions.get(name, name)}" for name in pools]
    folder = f"{info.shared_folder}/health/sweeps"
    return main([f"--suite={suite}", f"--folder={folder}", *partitions])


def _kubernetes(info: ClusterInfo, suite: str) -> int:
    """Start the CronJob's Job now, wait for its end, and print its log."""
    from catalog.health_sweep import HEALTH_NAMESPACE, HEALTH_SWEEP
    from cli.submit.kubernetes_contexts import NoContextError, context_of
    from cli.submit.submission import SubmissionError, output_of

    if not shutil.which("kubectl"):
        fail("'kubectl' is not on this machine")
    try:
        kubectl = ["kubectl", "--context", context_of(info), "--namespace", HEALTH_NAMESPACE]
        found = output_of(
            [*kubectl, "get", "cronjob", HEALTH_SWEEP, "--ignore-not-found", "--output", "json"], ""
        )
        if not found.strip():
            fail(
                f"'{info.cluster_name}' has no CronJob '{HEALTH_SWEEP}'; set '{info.cluster}.health.sweep' "
                "and deploy"
            )
        job = output_of(
            [*kubectl, "create", "-f", "-", "--output", "name"], json.dumps(job_of(json.loads(found), suite))
        )
        typer.echo(
            f"started {job}; it continues without this command: {shlex.join([*kubectl, 'logs', '-f', job])}"
        )
        while True:
            status = json.loads(output_of([*kubectl, "get", job, "--output", "json"], "")).get("status", {})
            ends = {one["type"] for one in status.get("conditions", ()) if one.get("status") == "True"}
            if ends & {"Complete", "Failed"}:
                break
            time.sleep(_POLL_SECONDS)
        log = subprocess.run([*kubectl, "logs", job], capture_output=True, text=True, check=False)  # noqa: S603
        typer.echo(log.stdout, nl=False)
        if "Complete" in ends:
            return 0
        selector = f"job-name={job.partition('/')[2]}"
        pods = json.loads(
            output_of([*kubectl, "get", "pods", "--selector", selector, "--output", "json"], "")
        )
        return exit_code(pods)
    except (NoContextError, SubmissionError) as error:
        fail(error)


def job_of(cron_job: dict[str, Any], suite: str) -> dict[str, Any]:
    """Return the Job of a CronJob, as `kubectl create job --from` makes it, with a suite."""
    template = cron_job["spec"]["jobTemplate"]
    metadata = {**template.get("metadata", {}), "generateName": f"{cron_job['metadata']['name']}-now-"}
    metadata["annotations"] = {"cronjob.kubernetes.io/instantiate": "manual"}
    [container] = template["spec"]["template"]["spec"]["containers"]
    # Of two options of a name the last counts.
    container["args"] = [*container["args"], f"--suite={suite}"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


def exit_code(pods: dict[str, Any]) -> int:
    """Return the exit code of the sweep's own pod, 2 where there is none."""
    codes = [
        one["state"]["terminated"]["exitCode"]
        for pod in pods["items"]
        for one in pod.get("status", {}).get("containerStatuses", ())
        if one.get("state", {}).get("terminated")
    ]
    return int(codes[0]) if codes else 2
