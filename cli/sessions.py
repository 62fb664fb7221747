"""Sessions by Session Manager: the commands that open a shell, carry SSH, and forward a port. No port is open."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from catalog.cluster_info import ClusterInfo
from catalog.finding import Finding, Severity
from cli.nodes import Node

PROGRAMS = {
    "aws": "it is the AWS CLI; use version 2",
    "session-manager-plugin": "it is the Session Manager plugin for the AWS CLI, a separate download of AWS",
}
"""Programs that a session needs on this machine, with a description of each."""

NOTEBOOK_PORT = 8888
"""Jupyter's own default."""
GRAFANA_PORT = 3000
"""Grafana's own default."""

_FORWARD = re.compile(r"(?:(?P<local>\d{1,5}):)?(?P<remote>\d{1,5})", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A port of this machine that leads to one of a node, or of a host that the node reaches (`host`)."""

    local: int
    remote: int
    host: str = ""


def forwarding(text: str, host: str) -> Forwarding | Finding:
    """Read `[LOCAL:]PORT`, or say what is wrong with it or the host."""
    found = _FORWARD.fullmatch(text)
    ports = [int(port) for port in (found["local"] or found["remote"], found["remote"])] if found else []
    if not found or not all(1 <= port <= 65535 for port in ports):
        message = f"'{text}' is not a port from 1 to 65535, nor two of them as LOCAL:PORT"
        return Finding("connect-port", Severity.ERROR, "forward", text, message, "write 8888, or 9000:8888")
    if host and not _HOST.fullmatch(host):
        message = f"'{host}' is not the name or address of a host"
        return Finding(
            "connect-host", Severity.ERROR, "to", host, message, "name a node, such as ip-10-1-0-11"
        )
    return Forwarding(ports[0], ports[1], host)


def missing_programs() -> list[Finding]:
    """Return a finding for each program that a session needs and this machine lacks."""
    return [
        Finding(
            "connect-program",
            Severity.ERROR,
            "PATH",
            program,
            f"program '{program}' is not on this machine",
            f"{what}; install it, or show the command with '--dry-run'",
        )
        for program, what in PROGRAMS.items()
        if shutil.which(program) is None
    ]


def shell(info: ClusterInfo, node: Node, user: str) -> list[str]:
    """Return the command that opens a login shell on a node, as `user` or as the user of the cluster's document."""
    command = _session(info, node)
    if info.session_document and not user:
        return [*command, "--document-name", info.session_document]
    # AWS's own document: it needs no further one, and Session Manager's account may become any other.
    become = f"sudo --login --user {user or node.user}"
    return [*command, "--document-name", "AWS-StartInteractiveCommand", "--parameters", f"command={become}"]


def port_forwarding(info: ClusterInfo, node: Node, forward: Forwarding) -> list[str]:
    """Return the command that forwards a port for as long as it runs."""
    ports = f"portNumber={forward.remote},localPortNumber={forward.local}"
    document, parameters = "AWS-StartPortForwardingSession", ports
    if forward.host:
        document, parameters = f"{document}ToRemoteHost", f"host={forward.host},{ports}"
    return [*_session(info, node), "--document-name", document, "--parameters", parameters]


def ssh_proxy(info: ClusterInfo, node: Node) -> list[str]:
    """Return the command through which SSH reaches a node; `%p` is SSH's own word for the port."""
    document = ["--document-name", "AWS-StartSSHSession", "--parameters", "portNumber=%p"]
    return [*_session(info, node), *document]


def _session(info: ClusterInfo, node: Node) -> list[str]:
    return ["aws", "ssm", "start-session", "--region", info.region, "--target", node.target]
