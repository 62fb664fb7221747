"""Paths below a root, with symbolic links as programs of that root would follow them: never out of it."""

from __future__ import annotations

import os
from pathlib import Path

_MAX_LINKS = 40
"""As many as Linux follows."""


def inside(root: Path, name: str) -> Path:
    """Return the path that a name has below a root: an absolute link leads into the root, not to the host."""
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
            return path / part
        if target.startswith("/"):
            path = root
        rest = _parts(target) + rest
    return path


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]
