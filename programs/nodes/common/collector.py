"""The collector of a node's metrics: exporters of what the node has, and an agent that sends their samples to AWS."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException

from .agent_configuration import Destination, Target, agent_configuration
from .metrics import Metrics
from .node import Node, StepError, last_lines
from .node_exporter import ensure_exporter, node_targets
from .packages import ensure_packages, installed_version
from .release import ensure_program
from .service import ensure_service, missing_metrics
from .slurm_hooks import HYPERPOD_GPU_JOBS, HYPERPOD_JOB_MAP, HookFolders
from .timer import UNITS

_SETTINGS = "/etc/trainforge"
_CONFIGURATION = f"{_SETTINGS}/collector.yml"
_UNIT = "trainforge-collector.service"
_STATE = "trainforge-collector"
_DCGM_UNIT = "nvidia-dcgm-exporter.service"
_NEURON_UNIT = "trainforge-neuron-monitor.service"
_NEURON = "/opt/aws/neuron/bin"
_INFINIBAND = "/sys/class/infiniband"
_NVIDIA = "/dev/nvidiactl"
_HEAD = ("controller", "head")
_SLURM_PARTS = ("jobs", "nodes", "partitions", "scheduler")
"""The parts of slurmctld's own metrics (SchedMD/slurm, tag slurm-25-11-7-1, src/slurmctld/http.c).
`jobs-users-accts` is left out, as Slurm's Metrics Guide advises: its series grow with users and accounts."""
_SECONDS = 5
_HOOK = """\
#!/bin/sh
# Written by trainforge: which job has which GPU, for metrics. A hook that fails would drain the node.
[ ! -r {archive} ] || python3 {archive} gpu-jobs {action} || true
"""

_EXPORTERS = "/opt/trainforge/exporters"
_ARCHIVE = f"{_EXPORTERS}/exporters.pyz"
_GPU_JOBS = "/run/trainforge/gpu-jobs"
_DCGM_PROGRAM = "/usr/bin/dcgm-exporter"
_DCGM_COUNTERS = f"{_EXPORTERS}/dcgm-counters.csv"
_DCGM_SETTINGS = f"{UNITS}/{_DCGM_UNIT}.d/trainforge.conf"


def ensure_collector(node: Node, metrics: Metrics, kind: str) -> None:
    """Have the exporters and the agent run; what cannot be had is a warning, because the node runs jobs without it.

    `kind` is the node's kind: the controller or head node alone exports Slurm and the cluster's runs.

    Raises:
        StepError: an archive is not the one that was asked for.
    """
    # The agent on this node is the only one that asks it.
    ensure_exporter(node, metrics.node_exporter, address=f"127.0.0.1:{metrics.ports['node']}")
    try:
        found = _destination(node, metrics)
        if "exporters" in found:
            _fetch_exporters(node, found["exporters"])
    except StepError as error:
        node.log(f"WARNING: this node sends no metrics: {error}; next: {error.next_step}")
        return
    targets = list(_targets(node, metrics, kind))
    program = ensure_program(node, metrics.prometheus, "prometheus", "Prometheus")
    if program is None:
        return
    before = node.changes
    text = agent_configuration(
        targets,
        Destination(found["remote_write_url"], metrics.region),
        cluster=metrics.cluster,
        cluster_kind=metrics.cluster_kind,
        node=node_name(os.uname().nodename),
        scrape_seconds=metrics.scrape_seconds,
        series_limit=metrics.series_limit,
    )
    node.ensure_directory(_SETTINGS, 0o755)
    node.write_file(_CONFIGURATION, text, 0o644)
    with missing_metrics(node, "any kind"):
        ensure_service(
            node,
            _UNIT,
            _agent_unit(
                program,
                metrics.ports["collector"],
                # ParallelCluster lets root and its own accounts alone reach the credentials of head and login nodes.
                root=metrics.cluster_kind == "parallelcluster" and kind != "compute",
            ),
            next_step=f"'{program} --agent --config.file={_CONFIGURATION}' says what is wrong",
            restart=node.changes > before,
        )


def node_name(host: str) -> str:
    """Return the value of the label `node` of a host: its name without a domain, as Slurm and launch guards have it.

    Slurm's NodeName is what `hostname -s` prints (slurm.conf's manual); Amazon Linux 2023 names hosts with a domain.
    """
    return host.partition(".")[0]


def ensure_job_hooks(node: Node, folders: HookFolders) -> None:
    """Have Slurm write which job has which GPU, before and after each job, unless the node's image does it."""
    if _job_folder(node) == _GPU_JOBS:
        prolog, epilog = (_HOOK.format(archive=_ARCHIVE, action=action) for action in ("add", "remove"))
        folders.ensure(node, "60_trainforge_gpu_jobs", prolog, epilog)


def _job_folder(node: Node) -> str:
    """Return the folder that says which job has which GPU: HyperPod's own hook has one of its own."""
    return HYPERPOD_GPU_JOBS if node.path(HYPERPOD_JOB_MAP).exists() else _GPU_JOBS


def _destination(node: Node, metrics: Metrics) -> dict[str, str]:
    """Return what the deployment says of the destination; it is known when the stack is deployed, and not before."""
    node.require("aws", "use an image that has the AWS CLI, as the images of HyperPod and ParallelCluster do")
    query = ("aws", "ssm", "get-parameter", "--region", metrics.region, "--name", metrics.parameter)

    def ask() -> dict[str, str]:
        result = node.query(*query, "--query", "Parameter.Value", "--output", "text")
        if result.returncode != 0:
            raise StepError(
                f"parameter '{metrics.parameter}' cannot be read: {last_lines(result)}",
                "check that ObservabilityStack is deployed and that the node reaches SSM",
                retryable=True,
            )
        value: dict[str, str] = json.loads(result.stdout)
        return value

    return node.retry(ask)


def _fetch_exporters(node: Node, source: str) -> None:
    """Copy the deployment's own exporters from its bucket; a prefix is of one content, so nothing there changes."""
    mark = node.path(f"{_EXPORTERS}/source")
    if mark.exists() and mark.read_text(encoding="utf-8") == source:
        return
    node.ensure_directory(_EXPORTERS, 0o755)
    node.run(
        *("aws", "s3", "cp", "--recursive", "--only-show-errors", source, str(node.path(_EXPORTERS))),
        next_step="check that the node's role may read the bucket of scripts",
        retryable_codes=None,
    )
    node.write_file(f"{_EXPORTERS}/source", source, 0o644)


def _targets(node: Node, metrics: Metrics, kind: str) -> Iterator[Target]:
    """Yield what is scraped on this node; exporters of devices run only where the devices are."""
    ports = metrics.ports
    yield from node_targets(ports["node"])
    # A device's exporter is scraped also where it could not be installed: an alert then says that it does not answer.
    if node.path(_NVIDIA).exists():
        with missing_metrics(node, "GPUs"):
            _ensure_dcgm(node, metrics)
        yield Target("dcgm", ports["dcgm"])
    if node.path(f"{_NEURON}/neuron-monitor").exists():
        with missing_metrics(node, "Neuron devices"):
            _ensure_neuron(node, ports["neuron"])
        yield Target("neuron", ports["neuron"])
    if any(node.path(_INFINIBAND).glob("*")):
        _ensure_own(node, "efa")
        yield Target("efa", ports["efa"])
    if kind in _HEAD:
        yield from _cluster_targets(node, metrics)
    elif metrics.runs and metrics.host_folder:
        yield from _host_targets(node, metrics)


def _cluster_targets(node: Node, metrics: Metrics) -> Iterator[Target]:
    """Yield what is scraped once per cluster: Slurm, and the runs on the shared file system."""
    ports = metrics.ports
    native = _has_own_metrics(ports["slurmctld"])
    if native:
        for part in _SLURM_PARTS:
            yield Target(f"slurm-{part}", ports["slurmctld"], f"/metrics/{part}", own_node_label=True)
    options = "OPTIONS=--native\n" if native else "OPTIONS=\n"
    _ensure_own(node, "slurm", options)
    yield Target("slurm", ports["slurm"], own_node_label=True)
    if metrics.runs:
        _ensure_own(node, "runs", f"TRAINFORGE_RUNS={metrics.runs}\nOPTIONS=\n")
        yield Target("runs", ports["runs"], own_node_label=True)


def _host_targets(node: Node, metrics: Metrics) -> Iterator[Target]:
    """Yield what a host of AWS Batch exports of the runs: those whose node 0 is here. Its jobs are told its name."""
    folder, claims = metrics.host_folder, f"{metrics.host_folder}/runs"
    node.ensure_directory(folder, 0o755)
    # Jobs run as users of their images' choice.
    node.ensure_directory(claims, 0o1777)
    node.write_file(f"{folder}/node", f"{node_name(os.uname().nodename)}\n", 0o644)
    options = f"TRAINFORGE_RUNS={metrics.runs}\nOPTIONS=--claims={claims}\n"
    _ensure_own(node, "runs", options)
    yield Target("runs", metrics.ports["runs"], own_node_label=True, moves=True)


def _has_own_metrics(port: int) -> bool:
    """Return whether slurmctld answers with metrics, as Slurm 25.11 does where slurm.conf has MetricsType."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics/nodes", timeout=_SECONDS) as answer:
            found: bool = answer.status == 200
            return found
    # An older slurmctld answers in a protocol of its own, which is no HTTP.
    except (OSError, HTTPException):
        return False


def _ensure_own(node: Node, name: str, environment: str = "") -> None:
    """Have one of the deployment's own exporters run, if it is among those that were fetched.

    `environment` is the content of its environment file.
    """
    unit = f"trainforge-{name}-exporter.service"
    source = node.path(f"{_EXPORTERS}/units/{unit}")
    if not source.exists() or not node.path(_ARCHIVE).exists():
        node.log(f"WARNING: the exporter '{name}' is not among those of the deployment")
        return
    before = node.changes
    if environment:
        node.ensure_directory(_SETTINGS, 0o755)
        node.write_file(f"{_SETTINGS}/{name}-exporter.env", environment, 0o644)
    with missing_metrics(node, f"the exporter '{name}'"):
        ensure_service(
            node,
            unit,
            source.read_text(encoding="utf-8"),
            next_step="its port may be taken",
            restart=node.changes > before,
        )


def _ensure_dcgm(node: Node, metrics: Metrics) -> None:
    """Have NVIDIA's exporter run, from NVIDIA's package or as a container, where either can be had.

    Only apt installs it: no source states the version of the package for Amazon Linux or Red Hat.
    """
    if shutil.which("apt-get"):
        _ensure_dcgm_package(node, metrics.dcgm_package, metrics.ports["dcgm"])
        return
    if node.path(_DCGM_PROGRAM).exists():
        _run_dcgm(node, metrics.ports["dcgm"])
        return
    if shutil.which("docker") and node.path(_DCGM_COUNTERS).exists():
        _ensure_dcgm_container(node, metrics.dcgm_image, metrics.ports["dcgm"])
        return
    node.log(
        f"WARNING: no metrics of GPUs here: without apt-get, '{_DCGM_PROGRAM}' of NVIDIA's package "
        "'datacenter-gpu-manager-exporter' must be in the image"
    )


def _ensure_dcgm_container(node: Node, image: str, port: int) -> None:
    """Have NVIDIA's exporter run as a container, as hosts of Amazon ECS run everything.

    The capability is for the profiling counters (NVIDIA/dcgm-exporter, deployment/values.yaml).
    """
    counters = "/etc/dcgm-exporter/default-counters.csv"
    command = (
        f"docker run --rm --name dcgm-exporter --gpus all --network host --cap-drop ALL --cap-add SYS_ADMIN "
        f"--volume {_DCGM_COUNTERS}:{counters}:ro {image} -f {counters} --address=127.0.0.1:{port}"
    )
    text = "\n".join(
        (
            "# Written by trainforge.",
            "[Unit]",
            "Description=NVIDIA DCGM exporter",
            "After=docker.service",
            "Requires=docker.service",
            "[Service]",
            "ExecStartPre=-/usr/bin/docker rm --force dcgm-exporter",
            f"ExecStart=/usr/bin/{command}",
            "ExecStop=/usr/bin/docker stop dcgm-exporter",
            "Restart=on-failure",
            "RestartSec=10",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )
    ensure_service(
        node, "trainforge-dcgm-exporter.service", text, next_step="see that the image can be pulled"
    )


def _ensure_dcgm_package(node: Node, package: str, port: int) -> None:
    """Have NVIDIA's exporter run, from NVIDIA's package `NAME=VERSION`.

    An image's own stays at its version. The package is in NVIDIA's CUDA repository, which GPU images name. Its unit is
    the vendor's own, with the counters of the deployment, because the exporter's own list leaves out those that alerts
    read, with the folder that says which job has which GPU, and on the loopback address.
    """
    name, _, version = package.partition("=")
    found = installed_version(node, name)
    if found is None:
        try:
            ensure_packages(node, (package,))
        except StepError as error:
            node.log(f"WARNING: no metrics of GPUs here: {error}; add NVIDIA's CUDA repository to the image")
            return
    elif found != version:
        # Release 4.9.0 of NVIDIA/dcgm-exporter renames fields.
        node.log(
            f"WARNING: this image has '{name}' {found}, and alerts name the metrics of {version}: compare their names"
        )
    _run_dcgm(node, port)


def _run_dcgm(node: Node, port: int) -> None:
    """Have the exporter of NVIDIA's package run by its own unit, with what the deployment adds."""
    before = node.changes
    next_step = f"read 'journalctl --unit {_DCGM_UNIT}'"
    if node.path(_DCGM_COUNTERS).exists():
        jobs = _job_folder(node)
        command = f"{_DCGM_PROGRAM} -f {_DCGM_COUNTERS} --address=127.0.0.1:{port}"
        node.ensure_directory(os.path.dirname(_DCGM_SETTINGS), 0o755)
        text = "\n".join(
            (
                "# Written by trainforge.",
                "[Service]",
                f"ExecStartPre=/bin/mkdir -p {jobs}",
                f"Environment=DCGM_HPC_JOB_MAPPING_DIR={jobs}",
                "ExecStart=",
                f"ExecStart={command}",
                "",
            )
        )
        node.write_file(_DCGM_SETTINGS, text, 0o644)
    if node.changes > before:
        node.run("systemctl", "daemon-reload", next_step=next_step)
        node.run("systemctl", "restart", _DCGM_UNIT, next_step=next_step)
    if node.query("systemctl", "is-enabled", _DCGM_UNIT).stdout.strip() != "enabled":
        node.run("systemctl", "enable", "--now", _DCGM_UNIT, next_step=next_step)
        node.changed(f"unit '{_DCGM_UNIT}' enabled")


def _ensure_neuron(node: Node, port: int) -> None:
    """Have Neuron's monitor run, whose companion exports what it prints (Neuron documentation, "Neuron Monitor")."""
    command = f"{_NEURON}/neuron-monitor | {_NEURON}/neuron-monitor-prometheus.py --port {port}"
    text = "\n".join(
        (
            "# Written by trainforge.",
            "[Unit]",
            "Description=Metrics of Neuron devices",
            "[Service]",
            f"ExecStart=/bin/bash -o pipefail -c '{command}'",
            "Restart=on-failure",
            "RestartSec=10",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )
    ensure_service(node, _NEURON_UNIT, text, next_step=f"port {port} may be taken")


def _agent_unit(program: str, port: int, *, root: bool) -> str:
    """Return the agent's unit; with `root` it runs as that account, without any of its capabilities.

    Source: aws-parallelcluster-cookbook, attributes `head_node_imds_secured` and `head_node_imds_allowed_users`, and
    the test `config_only_allowed_users_can_access_imds`, of head and login nodes: iptables goes by the account.
    """
    account = (
        ("CapabilityBoundingSet=", "PrivateDevices=yes", "PrivateTmp=yes") if root else ("DynamicUser=yes",)
    )
    return "\n".join(
        (
            "# Written by trainforge.",
            "[Unit]",
            "Description=Collector of this node's metrics",
            "After=network-online.target",
            "Wants=network-online.target",
            "[Service]",
            f"ExecStart={program} --agent --config.file={_CONFIGURATION} "
            f"--storage.agent.path=/var/lib/{_STATE} --web.listen-address=127.0.0.1:{port}",
            *account,
            f"StateDirectory={_STATE}",
            "NoNewPrivileges=yes",
            "ProtectHome=yes",
            "ProtectSystem=strict",
            "MemoryMax=1G",
            "Restart=on-failure",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )
