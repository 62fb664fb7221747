"""Prometheus' node exporter, run without privileges."""

from __future__ import annotations

import os

from .agent_configuration import Target
from .node import Node
from .release import Release, ensure_program
from .service import ensure_service, missing_metrics

_UNIT = "trainforge-node-exporter.service"
_TEXT_FILES = "/var/lib/node_exporter/textfile"
_USERS_METRICS = "trainforge_.+"
_OWN_METRICS = "trainforge_(progress|ranks?|runs?|slurm)(_.*)?"
"""Metrics that a run may write to that folder, and those among them that our own exporters have, which alerts read."""


def ensure_exporter(node: Node, release: Release, *, address: str = "") -> None:
    """Have the exporter run, from now on and after each boot; one that cannot be had or does not start is a warning.

    It listens at `address` (host:port); at port 9100 of all addresses where that is empty. Whoever may write files on
    the node may have it export them, by a file in the folder of its textfile collector.

    Raises:
        StepError: the archive is not the one that was asked for.
    """
    program = ensure_program(node, release, "node_exporter", "node exporter")
    if program is None:
        return
    node.ensure_directory(os.path.dirname(_TEXT_FILES), 0o755)
    node.ensure_directory(_TEXT_FILES, 0o1777)
    with missing_metrics(node, "the node"):
        ensure_service(node, _UNIT, _unit(program, address), next_step="port 9100 may be taken")


def node_targets(port: int) -> tuple[Target, Target]:
    """Return what is scraped of the exporter at a port: the node's own metrics, and what users have written to files.

    Two scrapes: a user's file can neither pass for the node or for another exporter, nor have the node's metrics
    refused by the number of its series. The exporter leaves collectors out by `exclude[]` from 1.9
    (prometheus/node_exporter, node_exporter.go, tag v1.9.1).
    """
    return (
        Target("node", port, parameters=(("exclude[]", "textfile"),)),
        Target(
            "textfile",
            port,
            parameters=(("collect[]", "textfile"),),
            keep=_USERS_METRICS,
            drop=_OWN_METRICS,
        ),
    )


def _unit(program: str, address: str) -> str:
    listen = f" --web.listen-address={address}" if address else ""
    return "\n".join(
        (
            "# Written by trainforge.",
            "[Unit]",
            "Description=Prometheus node exporter",
            "After=network-online.target",
            "Wants=network-online.target",
            "[Service]",
            f"ExecStart={program} --collector.textfile.directory={_TEXT_FILES}{listen}",
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
