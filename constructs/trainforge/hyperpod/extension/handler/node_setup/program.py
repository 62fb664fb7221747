"""The program: reads its configuration, does every step, and says at the end what changed and what failed."""

from __future__ import annotations

import argparse
import os
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from .configuration import Configuration, ConfigurationError, User, read
from .enroot import ensure_enroot
from .mounts import mount_point, wait_for
from .node import Node, StepError
from .node_type import node_type
from .packages import ensure_packages
from .pyxis import check_pyxis
from .users import ensure_user

# The agent that carries logs away needs a moment before a failed node is taken down; the AWS sample's
# extensions (awsome-distributed-ai, Extensions/run_extensions.sh, July 2026) wait as long.
_LINGER_SECONDS = 60
_BESIDE = Path(__file__).resolve().parent.parent / "extension.json"

Step = tuple[str, Callable[[], None]]


def main(arguments: Sequence[str]) -> int:
    """Run and return the exit code: 0 all done, 1 a step failed, 2 a mistake in what it was given."""
    options = _parser().parse_args(arguments)
    node = Node(root=options.root, time_scale=options.time_scale)
    log = os.environ.get("TRAINFORGE_EXTENSION_LOG", "the output above")
    code = _run(node, options.configuration, log)
    if code != 0:
        node.log(f"waiting {options.linger_seconds:.0f} s, for the log to be carried away before the node is")
        time.sleep(options.linger_seconds)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="extension.py", description="configure this HyperPod node")
    parser.add_argument("--configuration", type=Path, default=_BESIDE, help="default: extension.json beside")
    parser.add_argument("--root", type=Path, default=Path("/"), help="a folder in place of /, for tests")
    parser.add_argument("--time-scale", type=float, default=1.0, help="multiplies every wait, for tests")
    parser.add_argument("--linger-seconds", type=float, default=_LINGER_SECONDS, help="wait after a failure")
    return parser


def _run(node: Node, path: Path, log: str) -> int:
    started = time.monotonic()
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

    steps = _steps(node, configuration)
    failures: list[str] = []
    for name, step in steps:
        node.step = name
        node.log("begins")
        failure = _failure(node, step)
        if failure is not None:
            failures.append(f"failed: step '{name}': {failure.reason}; log: {log}; next: {failure.next_step}")
            node.log(f"failed: {failure.reason}")
    node.step = "end"
    for line in failures:
        node.log(line)
    seconds = time.monotonic() - started
    node.log(f"steps={len(steps)} changed={node.changes} failed={len(failures)} seconds={seconds:.1f}")
    return 1 if failures else 0


def _steps(node: Node, configuration: Configuration) -> list[Step]:
    """Return the steps in order; none needs another's success."""
    kind = node_type(node, configuration.node_types)
    home_path, containers = configuration.home_path, configuration.containers
    steps: list[Step] = []
    for user in configuration.users:

        def ensure(user: User = user) -> None:
            wait_for(node, home_path, configuration.mounts)
            if mount_point(node, home_path) == "/":
                node.log(f"'{home_path}' is on the root disk: homes are not shared between nodes")
            ensure_user(node, user, home_path)

        steps.append((f"user {user.name}", ensure))
    if configuration.packages:
        steps.append(("packages", lambda: ensure_packages(node, configuration.packages)))
    if containers is not None:
        steps.append(("enroot", lambda: ensure_enroot(node, containers, configuration.mounts)))
        steps.append(("pyxis", lambda: check_pyxis(node, kind)))
    return steps


def _failure(node: Node, step: Callable[[], None]) -> StepError | None:
    try:
        step()
    except StepError as error:
        return error
    except OSError as error:
        return StepError(f"{type(error).__name__}: {error}", "see that the file system is there and writable")
    except Exception as error:  # A mistake of ours in one step must not keep the others from being done.
        for line in traceback.format_exc().splitlines():
            node.log(f"  {line}")
        return StepError(f"{type(error).__name__}: {error}", "report this with the log: it is a bug")
    return None
