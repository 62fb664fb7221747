"""Prometheus' node exporter: one release, checked by its digest, run without privileges."""

from __future__ import annotations

import hashlib
import os
import platform
import tarfile
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ..common.node import Node, StepError, last_lines

_UNIT = "trainforge-node-exporter.service"
_UNIT_FILE = f"/etc/systemd/system/{_UNIT}"
_FOLDER = "/opt/trainforge/bin"
_TEXT_FILES = "/var/lib/node_exporter/textfile"
# Every node waits for this before it takes jobs, and one without internet access waits until the timeout.
_SECONDS = 20
_ATTEMPTS = 3
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Exporter:
    """A release: its version, the URL of its archive (`{version}`, `{architecture}`), digests by machine."""

    version: str
    url: str
    sha256: Mapping[str, str]


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def ensure_exporter(node: Node, exporter: Exporter) -> None:
    """Have the exporter run, from now on and after each boot.

    What cannot be downloaded is a warning: a node without metrics still runs jobs, and a node that fails does not.

    Raises:
        StepError: the archive is not the one that was asked for, or the service does not start.
    """
    program = f"{_FOLDER}/node_exporter-{exporter.version}"
    if not node.path(program).exists():
        machine = platform.machine()
        digest = exporter.sha256.get(machine)
        if digest is None:
            node.log(
                f"WARNING: no node exporter for '{machine}' (there is one for {', '.join(exporter.sha256)})"
            )
            return
        url = exporter.url.format(version=exporter.version, architecture=_ARCHITECTURES[machine])
        try:
            archive = node.retry(lambda: _download(node, url), attempts=_ATTEMPTS)
        except StepError as error:
            node.log(f"WARNING: node exporter not installed, its metrics are missing here: {error}")
            return
        _install(node, archive, digest, url, program)
    node.ensure_directory(os.path.dirname(_TEXT_FILES), 0o755)
    node.ensure_directory(_TEXT_FILES, 0o1777)
    before = node.changes
    node.write_file(_UNIT_FILE, _unit(program), 0o644)
    if node.changes > before:
        node.run("systemctl", "daemon-reload", next_step="see 'systemctl --failed' on the node")
        node.run("systemctl", "restart", _UNIT, next_step=f"read 'journalctl --unit {_UNIT}'")
    state = node.query("systemctl", "is-enabled", _UNIT)
    if state.stdout.strip() != "enabled":
        node.run("systemctl", "enable", "--now", _UNIT, next_step=f"read 'journalctl --unit {_UNIT}'")
        node.changed(f"unit '{_UNIT}' enabled")
    active = node.query("systemctl", "is-active", _UNIT)
    if active.stdout.strip() != "active":
        reason = f"unit '{_UNIT}' is not active: {last_lines(active)}"
        raise StepError(reason, f"read 'journalctl --unit {_UNIT}'; port 9100 may be taken")


def _download(node: Node, url: str) -> bytes:
    node.log(f"downloading '{url}'")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 the deployment's own URL
            content: bytes = answer.read(_MAX_BYTES)
    except OSError as error:
        raise StepError(
            f"'{url}' cannot be read: {error}", "check that the node reaches this URL", retryable=True
        ) from error
    return content


def _install(node: Node, archive: bytes, digest: str, url: str, program: str) -> None:
    found = hashlib.sha256(archive).hexdigest()
    if found != digest:
        raise StepError(
            f"'{url}' has the digest {found}, not {digest}: it is not the expected release",
            "nothing of it was installed; find out who changed it",
        )
    with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as members:
        (member,) = [item for item in members if item.isfile() and item.name.endswith("/node_exporter")]
        stream = members.extractfile(member)
        assert stream is not None
        content = stream.read()
    node.ensure_directory(_FOLDER, 0o755)
    target = node.path(program)
    descriptor, name = tempfile.mkstemp(prefix=".node_exporter.", dir=target.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(name).chmod(0o755)
    Path(name).replace(target)
    node.changed(f"program '{program}' installed")


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
