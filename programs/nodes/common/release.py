"""A program that its makers publish as an archive: downloaded, checked by its digest, installed under its version."""

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

from .node import Node, StepError

_FOLDER = "/opt/trainforge/bin"
# Every node waits for this before it takes jobs, and one without internet access waits until the timeout.
_SECONDS = 20
_ATTEMPTS = 3
_MAX_BYTES = 256 << 20
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Release:
    """A release: its version, the URL of its archive (`{version}`, `{architecture}`), digests by machine."""

    version: str
    url: str
    sha256: Mapping[str, str]


def ensure_program(node: Node, release: Release, name: str, title: str) -> str | None:
    """Install the program `name` of a release's archive, and return its path; None where it cannot be had.

    What cannot be downloaded is a warning: a node without metrics still runs jobs, and a node that fails does not. A
    program that an image has at the path already is used.

    Raises:
        StepError: the archive is not the one that was asked for.
    """
    program = f"{_FOLDER}/{name}-{release.version}"
    if node.path(program).exists():
        return program
    machine = platform.machine()
    digest = release.sha256.get(machine)
    if digest is None:
        node.log(f"WARNING: no {title} for '{machine}' (there is one for {', '.join(release.sha256)})")
        return None
    url = release.url.format(version=release.version, architecture=_ARCHITECTURES[machine])
    try:
        archive = node.retry(lambda: _download(node, url), attempts=_ATTEMPTS)
    except StepError as error:
        node.log(f"WARNING: {title} not installed, its metrics are missing here: {error}")
        return None
    _install(node, archive, digest, url, program)
    return program


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
    name = os.path.basename(program).rpartition("-")[0]
    with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as members:
        (member,) = [item for item in members if item.isfile() and item.name.endswith(f"/{name}")]
        stream = members.extractfile(member)
        assert stream is not None
        content = stream.read()
    node.ensure_directory(_FOLDER, 0o755)
    target = node.path(program)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=target.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(temporary).chmod(0o755)
    Path(temporary).replace(target)
    node.changed(f"program '{program}' installed")
