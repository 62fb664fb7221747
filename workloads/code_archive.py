"""Archives of code that is shipped by itself: a workload's folder and our runtime, as a program that unpacks itself."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from workloads.own_code import REQUIREMENTS
from workloads.own_files import own_files
from workloads.shipped_code import RUNTIME, WORKLOAD
from workloads.spec import Workload

SUFFIX = ".pyz"
"""The ending of a Python program in a zip file."""

_RUNTIME = Path(__file__).parent / "runtime"
_PROGRAM = _RUNTIME / "code_archive.py"
_TIME = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can hold: the same files make the same archive."""


@dataclass(frozen=True, slots=True)
class CodeArchive:
    """A workload's folder in an archive: the name of its file, which is a hash of the files, and its content."""

    name: str
    content: bytes
    files: int


def code_archive(workload: Workload) -> CodeArchive:
    """Return the archive of a workload's own folder, whose files were checked before."""
    assert workload.folder
    own = own_files(workload.folder, workload.name).files
    members = {f"{WORKLOAD}/{file.path}": (file.source.read_bytes(), file.mode) for file in own}
    for path in sorted([*_RUNTIME.rglob("*.py"), *_RUNTIME.rglob("*.json")]):
        members[f"{RUNTIME}/{path.relative_to(_RUNTIME).as_posix()}"] = path.read_bytes(), 0o644
    members["__main__.py"] = _PROGRAM.read_bytes(), 0o644
    digest, content = hashlib.sha256(), io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (data, mode) in sorted(members.items()):
            digest.update(f"{name}\0{mode}\0{len(data)}\0".encode() + data)
            member = zipfile.ZipInfo(name, _TIME)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            archive.writestr(member, data)
    return CodeArchive(digest.hexdigest()[:16] + SUFFIX, content.getvalue(), len(own))


def requirements(folder: Path) -> list[str]:
    """Return the lines of a folder's requirements.txt that ask for something; none where it has no such file."""
    path = folder / REQUIREMENTS
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]
