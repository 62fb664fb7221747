"""The environment of a workload's requirements.txt: made once on the shared file system, by one of the nodes.

    PACKAGES="$(python3 python_environment.py --environments=/fsx/environments --logs=$RUN_FOLDER/nccl FOLDER)"

FOLDER has the requirements.txt. The environment's folder is printed: its `bin` belongs on PATH, and its `packages` on
PYTHONPATH. It is named by a hash of the requirements, of this Python and of the packages that are installed beside it,
which the environment sees too. torch stays as it is: requirements that ask for another one are refused by pip. Where a
requirement is a file or a folder, the name of FOLDER, which is a hash of the code, counts too.

One process installs, the others wait. The installer touches its lock every few seconds, so an untouched lock belongs
to a node that is gone, and the next one takes it. Two that install at the same time do no harm: each has a folder of
its own, and the link that names the environment is made once, at the end. A failure ends the run for good, with the
words of pip, on the nodes that wait as well.

Exit codes: 65 when the requirements cannot be installed, 69 when the shared file system cannot be written. The standard
library alone: this runs in every image.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import uuid
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from exit_codes import UNAVAILABLE, keep

REFUSED = 65
"""The requirements cannot be installed (EX_DATAERR of sysexits.h): another start would fail as this one."""

BEAT_SECONDS = 5.0
"""Seconds between the installer's touches of its lock: our choice."""

GONE_SECONDS = 180.0
"""Seconds after which the owner of an untouched lock counts as gone: our choice, counted by the clock of whoever waits.
NFS shows the time of a file up to a minute late."""

_REQUIREMENTS = "requirements.txt"
_NAMED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,\s-]*\])?\s*([<>=!~;].*)?", re.ASCII)
"""A requirement by the name of a package, as an index has it."""

_PATHS = "_trainforge_base.pth"
_KEPT = "torch"


class PackagesError(Exception):
    """The environment cannot be made; the message says why, and `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
    sys.stderr.write(f"python environment: {message}\n")
    sys.stderr.flush()


def key_of(folder: Path) -> str:
    """Return the name of the environment that the requirements of a folder need on this node."""
    text = (folder / _REQUIREMENTS).read_text(encoding="utf-8")
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    asked = [line for line in lines if line and not line.startswith("#")]
    installed = sorted({f"{one.metadata['Name']}=={one.version}" for one in distributions()})
    # pip finds files and folders below the workload's folder.
    own = "" if all(_NAMED.fullmatch(line) for line in asked) else folder.parent.name
    parts = [*asked, own, sys.version, sysconfig.get_platform(), sys.executable, *installed]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Lock:
    """The right to install an environment: a file that its owner touches while it works."""

    def __init__(self, environment: Path) -> None:
        self._environment = environment
        self._path = environment.with_name(f"{environment.name}.lock")
        self._id = uuid.uuid4().hex
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._touch, daemon=True)

    def take(self) -> bool:
        """Wait for the lock and return whether this process has it; not where the environment is there.

        Raises:
            PackagesError: another process has failed to install the environment meanwhile.
        """
        awaited, since, seen = "", time.monotonic(), 0.0
        while not self._environment.is_symlink():
            words = self._failure(awaited)
            if awaited and words.is_file():
                raise PackagesError(words.read_text(encoding="utf-8"), REFUSED)
            with contextlib.suppress(FileExistsError):
                with self._path.open("x", encoding="ascii") as file:
                    file.write(self._id)
                self._beat.start()
                return True
            with contextlib.suppress(FileNotFoundError):
                owner, touched = self._path.read_text(encoding="ascii"), self._path.stat().st_mtime
                if (owner, touched) != (awaited, seen):
                    if owner != awaited:
                        say(f"another process installs the requirements into '{self._environment}'")
                    awaited, seen, since = owner, touched, time.monotonic()
                elif time.monotonic() - since > GONE_SECONDS:
                    say(f"the process that installed '{self._environment}' is gone; starting again")
                    self._path.unlink()
            time.sleep(1)
        return False

    def failed(self, words: str) -> None:
        """Write the message of a failure for the processes that wait."""
        with contextlib.suppress(OSError):
            self._failure(self._id).write_text(words, encoding="utf-8")

    def release(self) -> None:
        """Give the lock back."""
        self._ended.set()
        with contextlib.suppress(OSError):
            if self._path.read_text(encoding="ascii") == self._id:
                self._path.unlink()

    def _failure(self, owner: str) -> Path:
        return self._environment.with_name(f"{self._environment.name}.failed.{owner}")

    def _touch(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._path)


def environment(folder: Path, environments: Path) -> Path:
    """Return the environment of a folder's requirements; makes it where it is not there.

    Raises:
        PackagesError: it cannot be made.
    """
    try:
        _made(environments)
        # Each user's own: who writes an environment decides what others' runs execute.
        place = environments / f"{os.getuid()}-{key_of(folder)}"
        lock = Lock(place)
        if not lock.take():
            return _own(place)
        try:
            _install(folder, place)
        except PackagesError as error:
            lock.failed(str(error))
            raise
        finally:
            lock.release()
    except OSError as error:
        raise PackagesError(f"'{environments}' cannot be written: {error}", UNAVAILABLE) from error
    return place


def _made(environments: Path) -> None:
    """Make the folder of all environments: each user may add some, and none remove another's."""
    if not environments.is_dir():
        environments.mkdir(parents=True, exist_ok=True)
        environments.chmod(0o1777)


def _own(place: Path) -> Path:
    """Return an environment that this user has made, and no other.

    Raises:
        PackagesError: it is another user's.
    """
    if place.lstat().st_uid != os.getuid():
        raise PackagesError(
            f"'{place}' belongs to another user, who could put anything there; remove it", UNAVAILABLE
        )
    return place


def _install(folder: Path, place: Path) -> None:
    say(f"installing {_REQUIREMENTS} into '{place}', once for all runs that need the same")
    made = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}")
    try:
        _run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(made)], folder)
        [packages] = sorted(made.glob("lib/python*/site-packages"))
        # A virtual environment of a virtual environment sees the system's packages only, and torch is in the one here.
        (packages / _PATHS).write_text("".join(f"{path}\n" for path in _own_packages()), encoding="utf-8")
        (made / "packages").symlink_to(packages.relative_to(made))
        constraints = made / "constraints.txt"
        constraints.write_text("".join(_constraints()), encoding="utf-8")
        options = ["--disable-pip-version-check", "--no-input", "--constraint", str(constraints)]
        python = str(made / "bin" / "python3")
        _run([python, "-m", "pip", "install", *options, "--requirement", _REQUIREMENTS], folder)
        with contextlib.suppress(FileExistsError):
            place.symlink_to(made.name)
            return
        shutil.rmtree(made, ignore_errors=True)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _own_packages() -> Iterator[str]:
    """Yield the folders of the packages of this Python that its own search path has."""
    for path in sys.path:
        if path and Path(path).name in ("site-packages", "dist-packages"):
            yield path


def _constraints() -> Iterator[str]:
    """Yield the constraint that keeps torch as it is: another build would not fit the image's drivers and fabric."""
    for one in distributions():
        if one.metadata["Name"] == _KEPT:
            yield f"{_KEPT}=={one.version}\n"
            return


def _run(words: list[str], folder: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - ours
        words,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    sys.stderr.write(done.stdout)
    if done.returncode:
        raise PackagesError(
            f"'{folder / _REQUIREMENTS}' cannot be installed; it said:\n{done.stdout.strip()}", REFUSED
        )


def main(words: list[str] | None = None) -> int:
    """Make the environment of this process's command line, or find it, and print its folder."""
    parser = argparse.ArgumentParser(description="install a workload's requirements once", allow_abbrev=False)
    parser.add_argument(
        "--environments", type=Path, required=True, help="folder of all environments, which nodes share"
    )
    parser.add_argument("--logs", type=Path, required=True, help="folder for logs, in the run's")
    parser.add_argument("folder", type=Path, help="the workload's folder")
    options = parser.parse_args(words)
    try:
        place = environment(options.folder, options.environments)
    except PackagesError as error:
        say(str(error))
        keep(error.code, options.logs)
        return error.code
    sys.stdout.write(f"{place}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
