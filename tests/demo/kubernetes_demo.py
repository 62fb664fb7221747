"""The demo's part on Kubernetes: what control planes the emulator gets, and a job on one that loses a rank.

The commands are those of a user: the AWS CLI, kubectl and trainforge, each with the emulator's address and a role that
the cluster's access entries name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from catalog.instances import instance
from catalog.kubernetes import POOL_LABEL
from catalog.pool import OnDemand, Pool
from emulator.cdk import ROOT
from emulator.server import Emulator
from settings.deployment import Settings
from settings.sections.eks import ControlPlaneSettings
from tests.kubernetes.plane.assets import VARIABLE, Assets, AssetsError

CLUSTERS = "tests.kubernetes.emulated:Clusters"
WORKLOAD, PRESET = "cpu-ddp", "reference"
ARGUMENTS = ("--steps=600", "--threads=1")
"""Steps for a rank to be killed in, and no more; both nodes share the processors of this machine."""

SYSTEM_POOL = "system"

_GUIDE = "docs/kubernetes-tests.md"
_COMMAND_SECONDS = 120.0
_JOB_SECONDS = 900.0
_POLL_SECONDS = 0.1
_TAIL_LINES = 8
_PROGRESS = r"step=\d+ loss=\S+"
_RESUMED = re.compile(r"resuming after step \d+ of \d+")
_POLICIES = ("view", "edit", "admin", "cluster-admin")
"""By how much they allow."""

_WRITERS = _POLICIES[1:]


class DemoError(Exception):
    """The job did not do what the demo shows; the text is what was seen instead."""


def section(settings: Settings) -> ControlPlaneSettings | None:
    """Return the configuration's section of a cluster with Kubernetes, the first of them."""
    return settings.eks or settings.hyperpod_eks


def missing(environment: Mapping[str, str] = os.environ) -> str:
    """Return what keeps a control plane from running on this machine; empty where nothing does."""
    assets = Assets.find(environment)
    if assets is None:
        return (
            f"the variable {VARIABLE} names no folder of Kubernetes programs ({_GUIDE} says how to fill one)"
        )
    try:
        assets.check()
    except AssetsError as error:
        return str(error)
    if os.geteuid() != 0:
        return "this user is not root, which Kueue's certificate and nodes whose pods are processes take"
    for program in ("ip", "unshare", "nsenter", "setpriv"):
        if shutil.which(program) is None:
            return f"program '{program}' is not installed (Debian's iproute2 and util-linux)"
    if not (Path(sys.executable).parent / "aws").exists():
        return "the AWS CLI is not installed; 'make setup-dev' installs it"
    return ""


def control_planes(settings: Settings, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return who runs the emulator's control planes, and with which nodes: those of the configuration's pools."""
    # It needs aws_cdk, which takes seconds to import, and other demos do not.
    from tests.kubernetes import capacity

    found = section(settings)
    assets = Assets.find()
    assert found is not None
    assert assets is not None
    hyperpod = settings.hyperpod_eks is found
    pools = [settings.pools[name] for name in getattr(found, "pools", ())]
    system = Pool(
        SYSTEM_POOL,
        found.system.instance_type,
        found.system.nodes,
        settings.availability_zones[0],
        OnDemand(),
        volume_gib=found.system.volume_gib,
    )
    nodes = {pool.name: capacity.node(pool, pool.name, hyperpod=hyperpod) for pool in pools}
    options = {
        "assets": str(assets.folder),
        "folder": str(folder / "clusters"),
        "pool_label": POOL_LABEL,
        "nodes": {**nodes, SYSTEM_POOL: capacity.node(system, SYSTEM_POOL)},
        "process_pools": [pool.name for pool in pools if _runs_here(pool)],
        "images": {"*": str(image(folder / "image"))},
    }
    return CLUSTERS, options


def _runs_here(pool: Pool) -> bool:
    """Tell whether a pool's nodes can have processes of this machine: those without accelerators."""
    return not instance(pool.instance_type).accelerators


def image(folder: Path) -> Path:
    """Lay out what the image of the workload has besides Python and torch, as its Dockerfile does."""
    place = folder / "opt" / "trainforge"
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workloads" / "runtime", place / "runtime", ignore=skipped)
    (place / "workload").mkdir()
    for module in ("train.py", "cpu_ddp_options.py"):
        shutil.copy(ROOT / "workloads" / "cpu_ddp" / module, place / "workload")
    return folder


class KubernetesDemo:
    """A job on the deployed cluster, launched, killed and followed as a user does it; a line for each step."""

    def __init__(
        self, console: Console, emulator: Emulator, settings: Settings, configuration: Path, folder: Path
    ) -> None:
        assets = Assets.find()
        assert assets is not None
        self._console, self._emulator, self._settings = console, emulator, settings
        self._configuration, self._folder = configuration, folder
        self._region = settings.region
        programs = [str(Path(sys.executable).parent), str(assets.folder), os.environ["PATH"]]
        self._environment = {
            **emulator.environment(),
            "PATH": os.pathsep.join(programs),
            "KUBECONFIG": str(folder / "kubeconfig"),
        }
        # Of this demo alone: another one may run on the machine.
        self._run_id = f"demo-{os.getpid()}"
        (self._cluster,) = emulator.client("eks").list_clusters()["clusters"]

    def run(self) -> None:
        """Show the cluster and who may use it; launch a job, kill a rank, and follow it to its end.

        Raises:
            DemoError: something was not as it should be.
        """
        found = section(self._settings)
        assert found is not None
        for note in self._emulator.notes():
            self._say("not installed", note)
        who = self._sign_in(found)
        self._say("cluster", f"{self._cluster}: {self._version()}; {self._nodes()}")
        reason = self._no_job(found)
        if reason:
            self._say("no job", reason)
            return
        namespace = self._settings.eks.namespace if self._settings.eks else ""
        self._say("access", f"{who}; without an access entry: {self._stranger(namespace)}")
        self._job(namespace)

    def _say(self, what: str, text: str) -> None:
        self._console.print(f"[bold]{what}[/bold] {escape(text)}", soft_wrap=True)

    def _sign_in(self, found: ControlPlaneSettings) -> str:
        """Make a kubeconfig in the role of an access entry that may create jobs, the one with the fewest rights."""
        entries = sorted(found.access, key=lambda one: _POLICIES.index(one.policy))
        if not entries:
            raise DemoError("nobody may use the cluster: name a role at 'access' in the configuration")
        entry = next((one for one in entries if one.policy in _WRITERS), entries[-1])
        self._update_kubeconfig("--role-arn", entry.principal_arn)
        where = f"in {', '.join(entry.namespaces)}" if entry.namespaces else "everywhere"
        return f"role {entry.principal_arn.rpartition('/')[2]} ({entry.policy} {where})"

    def _update_kubeconfig(self, *words: str) -> None:
        command = ["aws", "eks", "update-kubeconfig", "--name", self._cluster, "--region", self._region]
        self._output(*command, *words)

    def _version(self) -> str:
        found = self._output("kubectl", "version")
        return "Kubernetes " + next(
            line.split()[-1] for line in found.splitlines() if line.startswith("Server")
        )

    def _nodes(self) -> str:
        """Return how many nodes there are; users with rights in a namespace alone may not list them."""
        eks = self._emulator.client("eks")
        counts = {}
        for name in eks.list_nodegroups(clusterName=self._cluster)["nodegroups"]:
            group = eks.describe_nodegroup(clusterName=self._cluster, nodegroupName=name)["nodegroup"]
            counts[group["labels"][POOL_LABEL]] = group["scalingConfig"]["desiredSize"]
        sagemaker = self._emulator.client("sagemaker")
        for cluster in sagemaker.list_clusters()["ClusterSummaries"]:
            found = sagemaker.describe_cluster(ClusterName=cluster["ClusterName"])
            counts |= {one["InstanceGroupName"]: one["CurrentCount"] for one in found["InstanceGroups"]}
        return "nodes " + ", ".join(f"{pool}: {count}" for pool, count in sorted(counts.items()))

    def _no_job(self, found: ControlPlaneSettings) -> str:
        """Return why no job is launched; empty where one is."""
        if not self._settings.eks:
            return "the demo launches one on Amazon EKS ('eks' in the configuration) alone"
        pools = [self._settings.pools[name] for name in getattr(found, "pools", ())]
        if not any(_runs_here(pool) for pool in pools):
            return "no pool of this configuration has nodes without accelerators, as processes of this machine are"
        if not any(one.workload == WORKLOAD and "eks" in one.clusters for one in self._settings.workloads):
            return f"this configuration ships no '{WORKLOAD}' to the cluster"
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed; 'make setup-train' installs it"
        return ""

    def _stranger(self, namespace: str) -> str:
        """Return the cluster's answer to a principal without an access entry."""
        mine = self._environment["KUBECONFIG"]
        self._environment["KUBECONFIG"] = str(self._folder / "stranger")
        try:
            self._update_kubeconfig()
            self._output("kubectl", "get", "--raw", f"/api/v1/namespaces/{namespace}/pods")
        except DemoError as error:
            return str(error).splitlines()[-1]
        finally:
            self._environment["KUBECONFIG"] = mine
        raise DemoError("the cluster answers a user without an access entry")

    def _job(self, namespace: str) -> None:
        words = [WORKLOAD, "--on", "eks", "--preset", PRESET, "--run-id", self._run_id, "--wait", "--yes"]
        launch = ["trainforge", "launch", *words, "-c"]
        command = [*launch, str(self._configuration), "--", *ARGUMENTS]
        self._say("launch", " ".join([*launch, os.path.relpath(self._configuration, ROOT), "--", *ARGUMENTS]))
        began = time.monotonic()
        log = self._folder / "launch.log"
        with log.open("w") as output:
            launched = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            self._follow(launched, log, namespace, began)
        finally:
            launched.kill()
            launched.wait()

    def _follow(self, launched: subprocess.Popen[bytes], log: Path, namespace: str, began: float) -> None:
        def waited(what: str, found: Callable[[], Any]) -> Any:
            while not (held := found()):
                if launched.poll() is not None:
                    raise DemoError(f"the job ended before {what}:\n{_tail(log.read_text())}")
                if time.monotonic() > began + _JOB_SECONDS:
                    raise DemoError(f"{what}: not after {_JOB_SECONDS:.0f} s; {self._pods(namespace)}")
                time.sleep(_POLL_SECONDS)
            return held

        waited("rank 0 ran", lambda: next(self._ranks(0), None))
        rank = waited("rank 1 ran", lambda: next(self._ranks(1), None))
        where = self._pods(namespace)
        self._say("running", f"{where}, {time.monotonic() - began:.0f} s after the launch")
        runs = self._folder / "clusters" / self._cluster / "nodes" / "claims" / namespace
        step = waited("a checkpoint was saved", lambda: _saved(runs))
        os.kill(rank, signal.SIGKILL)
        killed = time.monotonic()
        self._say(
            "killed",
            f"rank 1 with SIGKILL, process {rank} of this machine, after the checkpoint of step {step}",
        )
        again = waited("it ran again", lambda: next((one for one in self._ranks(1) if one != rank), None))
        self._say("restarted", f"rank 1 is process {again}, {time.monotonic() - killed:.0f} s later")
        code = waited("its end", lambda: launched.poll() is not None and (launched.returncode,))[0]
        selector = f"app.kubernetes.io/name={WORKLOAD}"
        logs = self._output("kubectl", "logs", "--namespace", namespace, "--selector", selector, "--tail=-1")
        resumed = _RESUMED.search(logs)
        last = re.findall(_PROGRESS, logs)
        if code != 0 or not resumed or not last:
            raise DemoError(f"the job ended with code {code}; 'kubectl logs' shows:\n{_tail(logs)}")
        self._say("resumed", f"kubectl logs: {resumed[0]}")
        self._say(
            "ended", f"exit code {code} after {time.monotonic() - began:.0f} s; kubectl logs: {last[-1]}"
        )

    def _ranks(self, rank: int) -> Iterator[int]:
        """Yield the processes of this machine that are a rank of the demo's run."""
        variables = {f"RANK={rank}".encode(), f"RUN_ID={self._run_id}".encode()}
        for path in Path("/proc").glob("[0-9]*/environ"):
            # A process may have ended, and another user's is not ours.
            with contextlib.suppress(OSError):
                if variables <= set(path.read_bytes().split(b"\0")):
                    yield int(path.parent.name)

    def _pods(self, namespace: str) -> str:
        columns = "custom-columns=:metadata.name,:status.phase,:spec.nodeName"
        found = self._output(
            "kubectl", "get", "pods", "--namespace", namespace, "--no-headers", "-o", columns
        )
        pods = [line.split() for line in found.splitlines() if line.strip()]
        return f"{len(pods)} pods: " + ", ".join(f"{phase} on {node}" for _, phase, node in pods)

    def _output(self, *command: str) -> str:
        """Return what a command prints.

        Raises:
            DemoError: it fails.
        """
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMMAND_SECONDS,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"'{' '.join(command)}' did not end within {_COMMAND_SECONDS:.0f} s") from None
        if done.returncode:
            raise DemoError(
                f"'{' '.join(command)}' ended with code {done.returncode}:\n{done.stderr.strip()}"
            )
        return done.stdout


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_TAIL_LINES:])


def _saved(claims: Path) -> int | None:
    """Return the newest step whose checkpoint is complete in the runs of a namespace's claims."""
    steps = [
        int(match[1])
        for path in claims.glob(f"*/runs/{WORKLOAD}/*/checkpoints/*")
        if (match := re.match(r"step-(\d+)-", path.name))
    ]
    return max(steps, default=None)
