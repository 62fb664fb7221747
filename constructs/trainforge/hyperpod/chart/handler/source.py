"""A chart's source: fetched from GitHub at a commit, proven to be that commit's, unpacked."""

from __future__ import annotations

import gzip
import tarfile
import urllib.request
from pathlib import Path

_TIMEOUT_SECONDS = 60
_MOST_BYTES = 64 * 1024 * 1024
_ARCHIVE = "https://github.com/{repository}/archive/{commit}.tar.gz"


def fetch(repository: str, commit: str, folder: Path) -> Path:
    """Return the folder of a repository's files at a commit, put below `folder`.

    Raises:
        OSError: GitHub cannot be reached, or refuses.
        ValueError: what came is not that commit, or larger than any chart.
    """
    address = _ARCHIVE.format(repository=repository, commit=commit)
    with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 a constant https address
        packed = answer.read(_MOST_BYTES + 1)
    return unpack(packed, commit, folder)


def unpack(packed: bytes, commit: str, folder: Path) -> Path:
    """Unpack an archive below `folder` and return the one folder in it.

    git writes the commit's id into an archive's header, so an archive says itself what it is. GitHub does not promise
    that the bytes of an archive stay the same, so a digest of them would fail one day.

    Raises:
        ValueError: it is not an archive of that commit, too large, or not one folder.
    """
    if len(packed) > _MOST_BYTES:
        raise ValueError(f"the archive is larger than {_MOST_BYTES // 1024 // 1024} MiB")
    plain = folder / "source.tar"
    try:
        plain.write_bytes(gzip.decompress(packed))
    except (OSError, EOFError) as error:
        raise ValueError(f"the archive is not one: {error}") from error
    with tarfile.open(plain) as archive:
        said = archive.pax_headers.get("comment", "")
        if said != commit:
            raise ValueError(f"the archive is of commit '{said}', not of '{commit}'")
        archive.extractall(folder / "source", filter="data")
    roots = [path for path in (folder / "source").iterdir() if path.is_dir()]
    if len(roots) != 1:
        raise ValueError(f"the archive holds {len(roots)} folders, not one")
    return roots[0]
