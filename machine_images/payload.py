"""The file that the role `exporters` copies onto an image: the repository's own exporters as one program."""

from __future__ import annotations

from pathlib import Path

from trainforge.exporters import ARCHIVE, archive

PAYLOAD = Path(__file__).resolve().parents[1] / "build" / "machine-images"
"""The folder that the role's `exporters_payload` names; git ignores it."""


def write(folder: Path = PAYLOAD) -> Path:
    """Write the exporters' program into a folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ARCHIVE
    path.write_bytes(archive())
    return path
