"""The set-up program of a ParallelCluster node: it runs the steps of one event, and prints failures on stderr too."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..common.accounting import ensure_password_followed
from ..common.collector import ensure_collector, ensure_job_hooks
from ..common.configuration import Configuration, ConfigurationError, Containers
from ..common.directory import wait_for_sssd
from ..common.enroot import ensure_enroot
from ..common.health import ensure_health, ensure_hooks
from ..common.node import Node
from ..common.node_exporter import ensure_exporter
from ..common.packages import ensure_packages
from ..common.people import ensure_people
from ..common.release import Release
from ..common.slurm_hooks import PARALLELCLUSTER
from ..common.steps import Step, perform
from ..common.users import user_steps
from . import certificate
from .accounting import accounting_of
from .configuration import read
from .containers import DISKS, ensure_runtime_folder, prepare_enroot
from .node_kind import cluster_user, node_kind
from .pyxis_plugin import ensure_plugin, ensure_plugin_loaded

_CONFIGURATION_FILE = Path(__file__).resolve().parents[2] / "node.json"


def main(arguments: Sequence[str]) -> int:
    """Run and return the exit code: 0 all done, 1 a step failed, 2 a mistake in what it was given."""
    options = _parser().parse_args(arguments)
    node = Node(root=options.root, time_scale=options.time_scale)
    log = os.environ.get("TRAINFORGE_LOG", "the output above")
    failures = _failures(node, options.event, options.more, options.configuration, log)
    for line in failures:
        sys.stderr.write(f"{line}\n")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="set_up.py", description="set up this node of a ParallelCluster")
    parser.add_argument("event", choices=("start", "configured"), help="which custom action this is")
    parser.add_argument("more", nargs="*", help="URL of a certificate, a revision")
    parser.add_argument(
        "--configuration", type=Path, default=_CONFIGURATION_FILE, help="default: node.json beside"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="a folder in place of /, for tests")
    parser.add_argument(
        "--time-scale",
        type=float,
        default=float(os.environ.get("TRAINFORGE_TIME_SCALE", "1")),
        help="multiplies every wait, for tests",
    )
    return parser


def _failures(node: Node, event: str, more: Sequence[str], path: Path, log: str) -> list[str]:
    node.log(f"reading '{path}'")
    try:
        configuration, exporter = read(path)
    except ConfigurationError as error:
        return [
            f"failed: '{path}': {problem}; nothing was done; log: {log}; next: correct the configuration and "
            "deploy it again"
            for problem in error.problems
        ]
    if node.root == Path("/") and os.geteuid() != 0:
        return ["failed: this must run as root; next: start it with sudo"]
    if event == "start":
        urls = [argument for argument in more if argument.startswith("s3://")]
        return perform(node, [_certificate(node, url) for url in urls], log)
    return perform(node, _steps(node, configuration, exporter), log)


def _certificate(node: Node, url: str) -> Step:
    return "certificate", lambda: certificate.ensure_certificate(node, url)


def _container_folders(node: Node, containers: Containers, configuration: Configuration) -> None:
    """Keep layers on shared storage, and running containers and imported images on this node's own disk."""
    local = ensure_enroot(node, containers, configuration.mounts, DISKS)
    ensure_runtime_folder(node, local)


def _steps(node: Node, configuration: Configuration, exporter: Release | None) -> list[Step]:
    """Return the steps of a node that ParallelCluster has configured.

    The plugin comes first: compute nodes wait for what the head node writes.
    """
    kind = node_kind(node)
    containers = configuration.containers
    steps: list[Step] = []
    if containers is not None:
        if kind == "head":
            steps.append(("pyxis", lambda: ensure_plugin(node)))
        steps.append(("enroot", lambda: prepare_enroot(node)))
        steps.append(("container folders", lambda: _container_folders(node, containers, configuration)))
        steps.append(("pyxis loaded", lambda: ensure_plugin_loaded(node, kind)))
    steps += user_steps(node, configuration)
    home_path, mounts = configuration.home_path, configuration.mounts
    accounting = accounting_of(node) if kind == "head" else None
    directory = node.path(certificate.PATH).exists()
    if directory:
        steps.append(("directory", lambda: wait_for_sssd(node, certificate.DOMAIN)))
    if kind == "head" and (directory or accounting is not None):
        # The head node registers users with Slurm, and all nodes share /home.
        user = cluster_user(node)
        local = (*([user] if user else []), *(person.name for person in configuration.users))
        slurm = accounting is not None
        steps.append(("people", lambda: ensure_people(node, home_path, mounts, local=local, slurm=slurm)))
    if accounting is not None:
        steps.append(("accounting", lambda: ensure_password_followed(node, accounting)))
    if configuration.packages:
        steps.append(("packages", lambda: ensure_packages(node, configuration.packages)))
    health = configuration.health
    if health is not None and kind == "head":
        steps.append(("health hooks", lambda: ensure_hooks(node, PARALLELCLUSTER)))
    elif health is not None and kind == "compute":
        steps.append(("health", lambda: ensure_health(node, health)))
    metrics = configuration.metrics
    if metrics is not None:
        if kind == "head":
            steps.append(("jobs of GPUs", lambda: ensure_job_hooks(node, PARALLELCLUSTER)))
        steps.append(("metrics", lambda: ensure_collector(node, metrics, kind)))
    elif exporter is not None:
        steps.append(("node exporter", lambda: ensure_exporter(node, exporter)))
    return steps
