"""Mount points of folders, and the wait for file systems that the service mounts."""

from __future__ import annotations

import os
import re

from .node import Node, StepError

MOUNT_WAIT_SECONDS = 120
_ESCAPE = re.compile(r"\\([0-7]{3})")


def mount_point(node: Node, absolute: str) -> str:
    """Return the folder on which the file system of `absolute` is mounted; `/` is the root disk.

    An automount that nothing has triggered counts as not mounted.
    """
    # Looking at the folder triggers an automount. A separate program, because a server that does not answer
    # would block this one without end.
    node.query("stat", "--dereference", str(node.path(absolute)), timeout_seconds=20)
    best = "/"
    for line in node.path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[1])
        inside = absolute == point or absolute.startswith(point.rstrip("/") + "/")
        if inside and fields[2] != "autofs" and len(point) >= len(best):
            best = point
    return best


def expected_mount(absolute: str, mounts: tuple[str, ...] | None) -> str | None:
    """Return the innermost of `mounts` that contains `absolute`, or None."""
    above = [mount for mount in mounts or () if os.path.commonpath([mount, absolute]) == mount]
    return max(above, key=len, default=None)


def wait_for(node: Node, absolute: str, mounts: tuple[str, ...] | None) -> None:
    """Wait until the one of `mounts` above `absolute` is there; return at once where there is none.

    Raises:
        StepError: it is not mounted after 120 seconds.
    """
    expected = expected_mount(absolute, mounts) or "/"
    if not node.wait_until(
        lambda: len(mount_point(node, absolute)) >= len(expected),
        what=f"the file system of '{expected}'",
        seconds=MOUNT_WAIT_SECONDS,
    ):
        raise StepError(
            f"no file system is mounted on '{expected}' after {MOUNT_WAIT_SECONDS} s",
            "check that the file system exists, that its security group lets this node in, and that the "
            "instance group's storage configuration names it",
        )
