"""A chart's source: a chart repository at a version, or GitHub at a commit, compared with a digest of its files."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import time
import urllib.request
import zlib
from collections.abc import Mapping
from pathlib import Path

from .tools import Tools

_TIMEOUT_SECONDS = 60
_MIB = 1024 * 1024
_MAX_PACKED = 64 * _MIB
_MAX_UNPACKED = 256 * _MIB
_GZIP = 16 + zlib.MAX_WBITS
_ARCHIVE = "https://github.com/{repository}/archive/{commit}.tar.gz"


def pull(tools: Tools, repository: str, name: str, version: str, folder: Path) -> Path:
    """Return the folder of a chart of a chart repository at a version, put below `folder`, with its dependencies.

    Raises:
        ToolError: the repository cannot be reached, or has no such chart.
    """
    where = (repository,) if repository.startswith("oci://") else (name, "--repo", repository)
    target = folder / "pulled"
    tools.helm("pull", *where, "--version", version, "--untar", "--untardir", str(target), again=True)
    (chart,) = (path for path in target.iterdir() if path.is_dir())
    return chart


def resolve(tools: Tools, chart: Path, archives: Mapping[str, str]) -> None:
    """Fetch the dependencies of a chart that has no lock file: helm resolves them by their exact versions.

    `archives` maps the file of each that comes from a chart repository to its SHA-256.

    Raises:
        ToolError: one cannot be fetched.
        ValueError: one has another digest than `archives`.
    """
    tools.helm("dependency", "update", str(chart), again=True)
    for name, digest in archives.items():
        _verify_archive(chart / "charts" / name, digest)


def fetch(repository: str, commit: str, folder: Path, deadline: float) -> Path:
    """Return the folder of a repository's files at a commit, put below `folder`; nothing of it is verified yet.

    `deadline` is in seconds of time.monotonic: a server that sends slowly must not use up the time for an answer.

    Raises:
        OSError: GitHub cannot be reached, refuses, or has not sent all when the time is over.
        ValueError: the answer is not an archive, or larger than any chart.
    """
    address = _ARCHIVE.format(repository=repository, commit=commit)
    packed = bytearray()
    with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 a constant https address
        # No more than one packet is waited for at a time.
        while len(packed) <= _MAX_PACKED and (part := answer.read1(_MIB)):
            packed += part
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{address} has sent {len(packed)} bytes, and no time is left for the rest"
                )
    return unpack(bytes(packed), folder)


def unpack(packed: bytes, folder: Path) -> Path:
    """Unpack an archive below `folder` and return the one folder in it.

    Raises:
        ValueError: it is not a whole archive, too large, or not one folder.
    """
    if len(packed) > _MAX_PACKED:
        raise ValueError(f"the archive is larger than {_MAX_PACKED // _MIB} MiB")
    with tarfile.open(fileobj=io.BytesIO(_decompressed(packed))) as archive:
        # The size that a member states is the size on disk, which a sparse file does not have in the archive.
        if sum(member.size for member in archive) > _MAX_UNPACKED:
            raise ValueError(f"the archive's files are larger than {_MAX_UNPACKED // _MIB} MiB")
        archive.extractall(folder / "source", filter="data")
    roots = [path for path in (folder / "source").iterdir() if path.is_dir()]
    if len(roots) != 1:
        raise ValueError(f"the archive holds {len(roots)} folders, not one")
    return roots[0]


def verify(chart: Path, digest: str) -> None:
    """Compare a chart's files with their digest: SHA-256 of a line `SHA-256  PATH` for each file, sorted by path.

    The commit's own id in an archive proves nothing, since whoever packs an archive may write it. GitHub does not
    promise that the bytes of an archive stay the same, so the digest is of what is in it:
    `find . -type f | sed 's|^./||' | LC_ALL=C sort | xargs sha256sum | sha256sum`.

    Raises:
        ValueError: the files are others, or one of them is no plain file.
    """
    paths = {
        path.relative_to(chart).as_posix(): path
        for path in chart.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    lines = []
    for name, path in sorted(paths.items()):
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"the chart's file '{name}' is not a plain file")
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n")
    found = hashlib.sha256("".join(lines).encode()).hexdigest()
    if found != digest:
        raise ValueError(
            f"the chart's files have the digest '{found}', not '{digest}': nothing was installed"
        )


def leave_out(chart: Path, dependency: str) -> None:
    """Remove a dependency from a chart, so that helm does not fetch it; helm fetches disabled ones too.

    Raises:
        ValueError: the chart does not name it once.
    """
    file = chart / "Chart.yaml"
    entry = re.compile(rf"^  - name: {re.escape(dependency)}\n(?:    .*\n)*", re.MULTILINE)
    text, found = entry.subn("", file.read_text(encoding="utf-8"))
    if found != 1:
        raise ValueError(f"the chart names the dependency '{dependency}' {found} times, not once")
    file.write_text(text, encoding="utf-8")


def _decompressed(packed: bytes) -> bytes:
    """Return what is packed; no more of it is unpacked than may be.

    Raises:
        ValueError: it is not packed by gzip, cut off, or too large.
    """
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(packed, _MAX_UNPACKED + 1)
    except zlib.error as error:
        raise ValueError(f"the archive is not one: {error}") from error
    if len(plain) > _MAX_UNPACKED:
        raise ValueError(f"the archive is larger than {_MAX_UNPACKED // _MIB} MiB when it is unpacked")
    if not stream.eof:
        raise ValueError("the archive is not one: it is cut off")
    return plain


def _verify_archive(archive: Path, digest: str) -> None:
    if not archive.is_file():
        raise ValueError(f"helm did not fetch '{archive.name}'; the chart's dependencies are others")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != digest:
        raise ValueError(f"'{archive.name}' has the digest '{found}', not '{digest}': nothing was installed")
