"""The file that nodes run: a shell script with the program behind it as an archive."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from trainforge.node_program import PARALLELCLUSTER, health_files
from trainforge.programs import NODES

ENTRY = NODES / "parallelcluster" / "custom_action.sh"
_CONFIGURATION = "node.json"
# A date that a ZIP archive can hold: the same sources make the same bytes, whenever they are packed.
_DATE = (1980, 1, 1, 0, 0, 0)


def packed(configuration: Mapping[str, Any]) -> bytes:
    """Return the file for a configuration. Pure but for reading our own sources.

    Not compressed: what a compressor makes differs between its versions, and so would the file's digest.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as members:
        for name, content in sorted(_members(configuration)):
            members.writestr(zipfile.ZipInfo(name, _DATE), content)
    return ENTRY.read_bytes() + archive.getvalue()


def revision(content: bytes) -> str:
    """Return a short name of the content, another for any other content."""
    return hashlib.sha256(content).hexdigest()[:12]


def _members(configuration: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield _CONFIGURATION, json.dumps(configuration, indent=2, sort_keys=True) + "\n"
    # The whole file is downloaded by every node, so it has no more than the configuration asks for.
    left_out = set() if configuration.get("health") else set(health_files())
    for name, path in PARALLELCLUSTER.files().items():
        if name in left_out:
            continue
        yield name, path.read_text(encoding="utf-8")
