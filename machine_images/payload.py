"""The archive that the role `exporters` unpacks in /opt/trainforge: exporters, health checks, our check of software."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from trainforge.exporters import ARCHIVE, UNITS, archive

_ROOT = Path(__file__).resolve().parents[1]
PAYLOAD = _ROOT / "build" / "machine-images"
"""The folder that the role's `exporters_payload` names; git ignores it."""

NAME = "trainforge.tar.gz"
"""The archive's name."""

_CHECKS = [_ROOT / "workloads" / "runtime" / name for name in ("health", "software")]
"""Packages that are started as `python3 -m NAME`, each in a folder of its own."""


def members() -> dict[str, bytes]:
    """Return the files by their paths below /opt/trainforge, where the set-up of nodes looks for them."""
    files = {f"exporters/{ARCHIVE}": archive()}
    files |= {f"exporters/units/{unit.name}": unit.read_bytes() for unit in UNITS.glob("*.service")}
    for package in _CHECKS:
        for source in package.iterdir():
            if source.suffix in (".py", ".json"):
                files[f"{package.name}/{package.name}/{source.name}"] = source.read_bytes()
    return files


def write(folder: Path = PAYLOAD) -> Path:
    """Write the archive into a folder, and return its path; the same files make the same members."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    files = members()
    folders = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."}
    with tarfile.open(path, "w:gz") as target:
        for name in sorted(folders):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            target.addfile(member)
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            target.addfile(member, io.BytesIO(content))
    return path
