"""A file system of memory that a test can fill up, where one may be mounted."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOM_BYTES = 64 * 2**20


@contextmanager
def small_file_system(folder: Path) -> Iterator[None]:
    """Mount a file system of memory, of 64 MiB, which root alone may."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_ROOM_BYTES},mode=0750", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def can_mount() -> bool:
    """Return whether a small file system can be mounted here: by root, outside of most containers."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_file_system(Path(folder) / "probe"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def fill(ballast: Path) -> None:
    """Write a file until there is no room."""
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            return
