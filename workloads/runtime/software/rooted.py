"""Paths below a root, with symbolic links as programs of that root would follow them: never out of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_MAX_LINKS = 40
"""As many as Linux follows."""


def read(root: Path, name: str) -> str | None:
    """Return the text of a regular file below a root; None where there is none that can be read.

    A pipe or a device is no such file: it may have no end.
    """
    try:
        path = inside(root, name)
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    except OSError:
        return None


def inside(root: Path, name: str) -> Path:
    """Return the path that a name has below a root: an absolute link leads into the root, not to the host.

    Raises:
        OSError: links lead in a circle.
    """
    path, links = root, 0
    rest = _parts(name)
    while rest:
        part = rest.pop(0)
        if part == "..":
            path = root if path == root else path.parent
            continue
        try:
            target = os.readlink(path / part)
        except OSError:
            path = path / part
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        if target.startswith("/"):
            path = root
        rest = _parts(target) + rest
    return path


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]
