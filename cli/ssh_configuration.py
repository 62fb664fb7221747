"""SSH's configuration of a cluster, in a file of its own that a person's configuration includes."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from catalog.cluster_info import ClusterInfo
from cli.nodes import ENTRANCES, Node
from cli.sessions import ssh_proxy

_MARK = "# Written by 'trainforge connect"
FOLDER = "trainforge"
"""Folder of these files below ~/.ssh."""
INCLUDE = f"Include {FOLDER}/*.conf"
"""The line that a person puts at the head of ~/.ssh/config; relative paths start at ~/.ssh (ssh_config manual)."""


class FileError(Exception):
    """The file cannot be written; the message has the reason and the next step."""


def default_file(info: ClusterInfo) -> Path:
    """Return where the configuration of a cluster is written."""
    return Path.home() / ".ssh" / FOLDER / f"{info.deployment}-{info.cluster}.conf"


def host_names(info: ClusterInfo, nodes: Sequence[Node]) -> dict[str, Node]:
    """Return the SSH host names of the running login nodes: one per node, and the cluster's own for the first."""
    base = f"{info.deployment}-{info.cluster}"
    named: dict[str, Node] = {}
    for kind in ENTRANCES:
        running = [node for node in nodes if node.kind == kind and node.running]
        for number, node in enumerate(running, start=1):
            named[f"{base}-{kind}" if number == 1 else f"{base}-{kind}-{number}"] = node
    first = next(iter(named.values()), None)
    return {base: first, **named} if first else {}


def configuration(info: ClusterInfo, nodes: Sequence[Node], user: str = "") -> str:
    """Return the text of the file.

    Instances come and go, and so do their keys: each is known by its own id and not by the name it has here, and a
    new one is taken without asking. The connection is encrypted and authenticated by AWS.
    """
    lines = [f"{_MARK} {info.cluster} --ssh-config', which overwrites it: changes here are lost."]
    by_node: dict[str, list[str]] = {}
    named = host_names(info, nodes)
    for name, node in named.items():
        by_node.setdefault(node.instance_id, []).append(name)
    for names in by_node.values():
        node = named[names[0]]
        lines += [
            "",
            f"Host {' '.join(names)}",
            f"    HostName {node.instance_id}",
            f"    User {user or node.user}",
            f"    ProxyCommand {shlex.join(ssh_proxy(info, node))}",
            f"    HostKeyAlias {node.instance_id}",
            f"    UserKnownHostsFile ~/.ssh/{FOLDER}/known_hosts",
            "    StrictHostKeyChecking accept-new",
            "    ServerAliveInterval 30",
        ]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> bool:
    """Write the file in one move, readable by its owner only; return whether that changed anything.

    Raises:
        FileError: a file that we did not write is there, or the folder is not to be written.
    """
    try:
        if path.exists() or path.is_symlink():
            present = path.read_text(encoding="utf-8", errors="replace")
            if not present.startswith(_MARK):
                raise FileError(
                    f"file '{path}' was not written by trainforge and stays as it is; "
                    "move it away, or name another with '--output FILE'"
                )
            if present == text:
                return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileError(f"file '{path}' cannot be written: {error.strerror or error}") from error
    return True


def is_included(path: Path) -> bool:
    """Return whether a line of ~/.ssh/config itself includes our folder."""
    try:
        text = (Path.home() / ".ssh" / "config").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    folder = re.escape(FOLDER)
    ours = re.compile(
        rf"^\s*include\s+.*\b{folder}/(\*|{re.escape(path.name)})", re.IGNORECASE | re.MULTILINE
    )
    return bool(ours.search(text))
