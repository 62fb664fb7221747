"""A program that a node runs as a unit of systemd, from now on and after each boot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .node import Node, StepError, last_lines
from .timer import UNITS


def ensure_service(node: Node, unit: str, text: str, *, next_step: str, restart: bool = False) -> None:
    """Have a unit run with this text; a change of the text, or `restart`, starts it again.

    Raises:
        StepError: it does not start.
    """
    before = node.changes
    node.write_file(f"{UNITS}/{unit}", text, 0o644)
    if node.changes > before:
        node.run("systemctl", "daemon-reload", next_step="see 'systemctl --failed' on the node")
        restart = True
    if restart:
        node.run("systemctl", "restart", unit, next_step=f"read 'journalctl --unit {unit}'")
    state = node.query("systemctl", "is-enabled", unit)
    if state.stdout.strip() != "enabled":
        node.run("systemctl", "enable", "--now", unit, next_step=f"read 'journalctl --unit {unit}'")
        node.changed(f"unit '{unit}' enabled")
    active = node.query("systemctl", "is-active", unit)
    if active.stdout.strip() != "active":
        reason = f"unit '{unit}' is not active: {last_lines(active)}"
        raise StepError(reason, f"read 'journalctl --unit {unit}'; {next_step}")


@contextmanager
def missing_metrics(node: Node, of: str) -> Iterator[None]:
    """Make an error a warning that names the metrics which are missing then: the node runs jobs without them."""
    try:
        yield
    except StepError as error:
        node.log(f"WARNING: no metrics of {of} here: {error}; next: {error.next_step}")
