"""The program of a code archive: it unpacks the archive on the node that starts it, and prints the folder.

An archive is a zip file with this file as `__main__.py`, so that Python runs it as it is:

    CODE_FOLDER="$(python3 /fsx/data/code/my-training/0123456789abcdef.pyz)"

The folder is on the node's own disk, below TMPDIR, and named by the archive's hash: later runs of the same code find it
there. Several processes of a node may start at once: each unpacks into a folder of its own, and the first one gives it
its name. Exit code 66 where the archive is broken, 69 where the node has no place for it. The standard library alone.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

NO_INPUT, UNAVAILABLE = 66, 69
"""EX_NOINPUT and EX_UNAVAILABLE of sysexits.h; the launch guard's modules are not unpacked yet."""


class CodeError(Exception):
    """The code cannot be used; the message says why, and `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def unpacked(archive: Path, temporary: Path) -> Path:
    """Return the folder with the archive's files, which others cannot write to.

    Raises:
        CodeError: the archive is broken, or there is no place for it.
    """
    try:
        home = _private(temporary / f"trainforge-{os.getuid()}")
        folder = home / archive.stem
        if not folder.is_dir():
            _unpack(archive, home, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CodeError(
            f"'{archive}' is broken: {error}; launch again, which writes a new one", NO_INPUT
        ) from error
    except OSError as error:
        raise CodeError(
            f"'{archive}' cannot be unpacked below '{temporary}': {error}", UNAVAILABLE
        ) from error
    return folder


def _private(folder: Path) -> Path:
    """Return a folder that belongs to this user alone: temporary folders are everybody's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise CodeError(
            f"'{folder}' is not this user's own folder; let TMPDIR name another place", UNAVAILABLE
        )
    return folder


def _unpack(archive: Path, home: Path, folder: Path) -> None:
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=home))
    try:
        with zipfile.ZipFile(archive) as files:
            for member in files.infolist():
                if member.filename != "__main__.py":
                    path = Path(files.extract(member, made))
                    if not member.is_dir():
                        path.chmod(member.external_attr >> 16 & 0o777 or 0o644)
        try:
            made.rename(folder)
        except OSError:
            # Another process of this node was first.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main() -> int:
    """Unpack the archive that this program is in."""
    try:
        folder = unpacked(Path(sys.argv[0]).absolute(), Path(tempfile.gettempdir()))
    except CodeError as error:
        sys.stderr.write(f"code archive: {error}\n")
        return error.code
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
