"""Prometheus' node exporter, run without privileges."""

from __future__ import annotations

import os

from .node import Node
from .release import Release, ensure_program
from .service import ensure_service

_UNIT = "trainforge-node-exporter.service"
_TEXT_FILES = "/var/lib/node_exporter/textfile"


def ensure_exporter(node: Node, release: Release) -> None:
    """Have the exporter run, from now on and after each boot; one that cannot be downloaded is a warning.

    Raises:
        StepError: the archive is not the one that was asked for, or the service does not start.
    """
    program = ensure_program(node, release, "node_exporter", "node exporter")
    if program is None:
        return
    node.ensure_directory(os.path.dirname(_TEXT_FILES), 0o755)
    node.ensure_directory(_TEXT_FILES, 0o1777)
    ensure_service(node, _UNIT, _unit(program), next_step="port 9100 may be taken")


def _unit(program: str) -> str:
    return "\n".join(
        (
            "# Written by trainforge.",
            "[Unit]",
            "Description=Prometheus node exporter",
            "After=network-online.target",
            "Wants=network-online.target",
            "[Service]",
            f"ExecStart={program} --collector.textfile.directory={_TEXT_FILES}",
            "DynamicUser=yes",
            "ProtectHome=read-only",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
            "Restart=on-failure",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )
