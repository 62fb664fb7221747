"""The archive that a pipeline of Image Builder unpacks on the machine: playbooks, their payload, and the check."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from machine_images.payload import NAME, PAYLOAD, members
from trainforge.programs import PROGRAMS

_ROOT = Path(__file__).resolve().parents[1]
_PLAYBOOKS = Path(__file__).parent
_PROGRAMS = PROGRAMS / "image_builder"
_SOFTWARE = _ROOT / "workloads" / "runtime" / "software"

ARCHIVE = "image.tar.gz"
"""The archive's name."""


def archive_members() -> dict[str, bytes]:
    """Return the files by their paths: the repository's for what playbooks name beside themselves."""
    files = {PAYLOAD.relative_to(_ROOT).joinpath(NAME).as_posix(): packed(members())}
    playbooks = [
        *_PLAYBOOKS.glob("*.yml"),
        *_PLAYBOOKS.glob("roles/**/*"),
        *_PLAYBOOKS.glob("group_vars/**/*"),
    ]
    for source in (*playbooks, _PLAYBOOKS / "ansible.cfg", _PLAYBOOKS / "requirements.lock"):
        if source.is_file():
            files[source.relative_to(_ROOT).as_posix()] = source.read_bytes()
    files |= {f"image_builder/{source.name}": source.read_bytes() for source in _PROGRAMS.glob("*.sh")}
    for source in _SOFTWARE.iterdir():
        if source.suffix in (".py", ".json"):
            files[f"software/{source.name}"] = source.read_bytes()
    return files


def packed(files: dict[str, bytes]) -> bytes:
    """Return files as a tar archive under gzip; the same files make the same bytes."""
    target = io.BytesIO()
    # The time in gzip's header would be that of the synthesis.
    with (
        gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if content.startswith(b"#!") else 0o644
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()
