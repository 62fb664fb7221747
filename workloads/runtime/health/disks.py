"""Probes of disks: those that are lost, and file systems that are full, read-only or do not answer."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from .session import NotJudged, Session
from .severity import Severity

_LOCAL = ("ext4", "ext3", "xfs", "btrfs")
_SHARED = ("lustre", "nfs", "nfs4", "wekafs", "gpfs", "fuse.mount-s3")
_LOCAL_DISK = "Instance Storage"
"""In the model of a host's NVMe disks, "Amazon EC2 NVMe Instance Storage" (public scripts that list them); volumes of
EBS have another."""

_SECONDS = 10
_WARN_PERCENT = 95
_FULL_PERCENT = 99
"""Our choices: a warning while a person can still clean up, and a fault once jobs fail to write."""

# In a process of its own: a file system whose server is gone keeps who asks for it waiting without end.
_ASK = """
import json, os, sys
found = os.statvfs(sys.argv[1])
print(json.dumps([found.f_blocks, found.f_bavail, found.f_bfree, found.f_files, found.f_ffree]))
"""


@dataclass(frozen=True)
class Mount:
    """A line of /proc/mounts: the device, the folder, the type, and the options."""

    device: str
    folder: str
    kind: str
    options: tuple[str, ...]


def mounts(text: str) -> list[Mount]:
    """Return the mounts of /proc/mounts, whose spaces are written as octal numbers; a folder's last mount counts."""
    found = {}
    for line in text.splitlines():
        words = [word.replace("\\040", " ").replace("\\011", "\t") for word in line.split()]
        if len(words) >= 4:
            found[words[1]] = Mount(words[0], words[1], words[2], tuple(words[3].split(",")))
    return list(found.values())


def check_disks(session: Session) -> None:
    """Report local file systems that are full or read-only, and shared ones that are missing or do not answer."""
    table = session.path("/proc/mounts")
    try:
        found = mounts(table.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise NotJudged(f"/proc/mounts cannot be read: {error}") from None
    container = any(mount.folder == "/" and mount.kind == "overlay" for mount in found)
    seen = set()
    for mount in found:
        if mount.kind in _LOCAL and mount.device not in seen:
            # Bind mounts of one device are one file system; in a container some are read-only by intent.
            seen.add(mount.device)
            if "ro" in mount.options and not container:
                session.found("disk-read-only", mount.folder, f"{mount.kind} is read-only", "writable")
            _check_space(session, mount)
    shared = {mount.folder: mount for mount in found if mount.kind in _SHARED}
    for mount in shared.values():
        _answers(session, mount.folder, mount.kind)
    for folder in session.options.mounts:
        if folder not in {mount.folder for mount in found}:
            session.found("shared-mount", folder, "not mounted", "mounted", Severity.REBOOT)
    _check_local_disks(session)


def _check_local_disks(session: Session) -> None:
    due = session.expected.local_disks if session.expected is not None else 0
    have = sum(_LOCAL_DISK in _text(model) for model in session.path("/sys/class/nvme").glob("*/model"))
    if have < due:
        session.found("local-disks", "/sys/class/nvme", have, due)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        # A disk that goes away while it is read is lost.
        return ""


def _answers(session: Session, folder: str, kind: str) -> list[int] | None:
    ran = session.run([sys.executable, "-c", _ASK, str(session.path(folder))], _SECONDS)
    if ran.code == 0:
        numbers: list[int] = json.loads(ran.output)
        return numbers
    # All nodes of a cluster wait while a server fails over: no node is rebooted for that.
    severity = Severity.ERROR if ran.timed_out else Severity.REBOOT
    session.found("shared-mount", folder, f"{kind}: {ran.end}", f"an answer within {_SECONDS} s", severity)
    return None


def _check_space(session: Session, mount: Mount) -> None:
    ran = session.run([sys.executable, "-c", _ASK, str(session.path(mount.folder))], _SECONDS)
    if ran.code != 0:
        raise NotJudged(f"'{mount.folder}' ({mount.kind}) {ran.end}")
    blocks, available, free, files, free_files = json.loads(ran.output)
    used = blocks - free
    for what, percent in (
        # As df counts: of what users may have, without the part that is kept for root.
        ("bytes", 100 * used / (used + available) if used + available else 0),
        ("files", 100 * (files - free_files) / files if files else 0),
    ):
        if percent >= _WARN_PERCENT:
            full = percent >= _FULL_PERCENT
            session.found(
                "disk-full",
                mount.folder,
                f"{percent:.1f} % of {what} used",
                f"less than {_WARN_PERCENT} %",
                Severity.ISOLATE if full else Severity.MONITOR,
            )
