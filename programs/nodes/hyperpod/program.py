"""The set-up program of a HyperPod node: it reads its configuration, runs every step, and logs changes and failures."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ..common.accounting import ensure_password_followed
from ..common.collector import ensure_collector, ensure_job_hooks
from ..common.configuration import Configuration, ConfigurationError, read
from ..common.directory import ensure_directory
from ..common.enroot import ensure_enroot
from ..common.health import ensure_health, ensure_hooks
from ..common.mounts import expected_mount
from ..common.node import Node
from ..common.packages import ensure_packages
from ..common.people import ensure_people, ensure_session_home
from ..common.pyxis import check_pyxis
from ..common.slurm_hooks import HYPERPOD
from ..common.steps import Step, perform
from ..common.users import user_steps
from .node_type import node_type

# The log agent needs a moment to deliver logs before a failed node is terminated; the AWS sample's
# extensions (awsome-distributed-ai, Extensions/run_extensions.sh, July 2026) wait as long.
_LINGER_SECONDS = 60
# The account of sessions for people without an account of their own (trainforge/session.py).
_SESSION_USER = "ubuntu"
_CONFIGURATION_FILE = Path(__file__).resolve().parents[2] / "node_setup.json"


def main(arguments: Sequence[str]) -> int:
    """Run and return the exit code: 0 all done, 1 a step failed, 2 a mistake in what it was given."""
    options = _parser().parse_args(arguments)
    node = Node(root=options.root, time_scale=options.time_scale)
    log = os.environ.get("TRAINFORGE_NODE_SETUP_LOG", "the output above")
    code = _run(node, options.configuration, log)
    if code != 0:
        node.log(
            f"waiting {options.linger_seconds:.0f} s, so that the log is delivered before the node is terminated"
        )
        time.sleep(options.linger_seconds)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="node_setup.py", description="configure this HyperPod node")
    parser.add_argument(
        "--configuration", type=Path, default=_CONFIGURATION_FILE, help="default: node_setup.json beside"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="a folder in place of /, for tests")
    parser.add_argument("--time-scale", type=float, default=1.0, help="multiplies every wait, for tests")
    parser.add_argument("--linger-seconds", type=float, default=_LINGER_SECONDS, help="wait after a failure")
    return parser


def _run(node: Node, path: Path, log: str) -> int:
    node.log(f"reading '{path}'")
    try:
        configuration = read(path)
    except ConfigurationError as error:
        for problem in error.problems:
            node.log(f"failed: '{path}': {problem}")
        node.log(f"nothing was done; log: {log}; next: correct the configuration and deploy it again")
        return 2
    if node.root == Path("/") and os.geteuid() != 0:
        node.log("failed: this must run as root; next: start it with sudo")
        return 2
    return 1 if perform(node, _steps(node, configuration), log) else 0


def _steps(node: Node, configuration: Configuration) -> list[Step]:
    """Return the steps in order; none needs another's success."""
    kind = node_type(node, configuration.node_types)
    containers = configuration.containers
    steps = user_steps(node, configuration)
    directory, accounting = configuration.directory, configuration.accounting
    if directory is not None:
        steps.append(("directory", lambda: ensure_directory(node, directory, configuration.home_path)))
    home_path, mounts = configuration.home_path, configuration.mounts
    if expected_mount(home_path, mounts) is not None:
        steps.append(
            ("session's home", lambda: ensure_session_home(node, _SESSION_USER, home_path, mounts)),
        )
    # One node registers users with Slurm; it makes the homes too, unless each node has its own.
    slurm = accounting is not None and kind == "controller"
    everywhere = kind == "unknown" or expected_mount(home_path, mounts) is None
    if slurm or (directory is not None and (kind == "controller" or everywhere)):
        local = (_SESSION_USER, *(user.name for user in configuration.users))
        steps.append(("people", lambda: ensure_people(node, home_path, mounts, local=local, slurm=slurm)))
    if accounting is not None and kind == "controller":
        steps.append(("accounting", lambda: ensure_password_followed(node, accounting)))
    if configuration.packages:
        steps.append(("packages", lambda: ensure_packages(node, configuration.packages)))
    health = configuration.health
    # The controller and login nodes run no jobs.
    if health is not None and kind not in ("controller", "login"):
        steps.append(("health", lambda: ensure_health(node, health)))
        steps.append(("health hooks", lambda: ensure_hooks(node, HYPERPOD)))
    if containers is not None:
        steps.append(("enroot", lambda: ensure_enroot(node, containers, configuration.mounts)))
        steps.append(("pyxis", lambda: check_pyxis(node, kind)))
    metrics = configuration.metrics
    if metrics is not None:
        if kind not in ("controller", "login"):
            steps.append(("jobs of GPUs", lambda: ensure_job_hooks(node, HYPERPOD)))
        steps.append(("metrics", lambda: ensure_collector(node, metrics, kind)))
    return steps
