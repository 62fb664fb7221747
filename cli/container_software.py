"""The software inside a container image: our code, mounted into a container and run by the image's python3."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from software.inventory import Inventory
    from software.report import Report

T = TypeVar("T")

_RUNTIME = Path(__file__).resolve().parents[1] / "workloads" / "runtime"
_INSIDE = "/mnt"
"""The place of our code in the container: a folder that images have, because enroot's are read-only."""

_COMMAND = ("python3", "-m", "software")
_ENGINES = ("docker", "podman")
# enroot runs a script in place of the image's own, which may print a banner.
_SCRIPT = f"cd {_INSIDE}\nexec {' '.join(_COMMAND)} {{option}}\n"


class ContainerError(Exception):
    """An image that could not be examined: no program for it, or the program failed."""


def examine(image: str) -> Report:
    """Return the report of an image: a reference, or a file that enroot starts.

    Raises:
        ContainerError: no container program is there, it fails, or the image has no python3.
    """
    if TYPE_CHECKING:
        from software.report import Report, Row
    else:
        from workloads.runtime.software.report import Report, Row

    def read(found: dict[str, Any]) -> Report:
        return Report(tuple(Row(**row) for row in found["parts"]), tuple(found["problems"]))

    return _read(image, "--json", read)


def inventory(image: str) -> Inventory:
    """Return what is installed in an image.

    Raises:
        ContainerError: as for `examine`.
    """
    if TYPE_CHECKING:
        from software.inventory import Inventory, Item
    else:
        from workloads.runtime.software.inventory import Inventory, Item

    def read(found: dict[str, Any]) -> Inventory:
        items = tuple(Item(**item) for item in found["items"])
        return Inventory(found["distribution"], found["release"], items)

    return _read(image, "--inventory", read)


def _read(image: str, option: str, read: Callable[[dict[str, Any]], T]) -> T:
    """Run our code in a container with an option, and read its answer."""
    file = image.endswith(".sqsh")
    if file and not Path(image).is_file():
        raise ContainerError(f"image '{image}' is not a file; 'enroot import' makes one")
    engine = None if file else next(filter(None, map(shutil.which, _ENGINES)), None)
    enroot = shutil.which("enroot")
    if engine:
        text = _said(
            image,
            [
                *(engine, "run", "--rm", "--network", "none", "--volume", f"{_RUNTIME}:{_INSIDE}:ro"),
                *("--workdir", _INSIDE, "--entrypoint", _COMMAND[0], image, *_COMMAND[1:], option),
            ],
        )
    elif enroot:
        text = _of_enroot(enroot, image, file, option)
    else:
        needed = "enroot" if file else "docker, podman or enroot"
        raise ContainerError(
            f"image '{image}' cannot be examined: {needed} is not on PATH; install it, or unpack the image "
            "and give the folder with '--root DIR'"
        )
    try:
        return read(json.loads(text))
    except (ValueError, KeyError, TypeError):
        last = (text.strip().splitlines() or ["nothing"])[-1]
        raise ContainerError(f"image '{image}': its python3 printed '{last}' in place of a report") from None


def _of_enroot(enroot: str, image: str, file: bool, option: str) -> str:
    with tempfile.TemporaryDirectory(prefix="trainforge-") as folder:
        path = image
        if not file:
            path = f"{folder}/image.sqsh"
            host, slash, rest = image.partition("/")
            # enroot separates the registry from the image's name by a number sign.
            named = f"{host}#{rest}" if slash and ("." in host or ":" in host) else image
            _said(image, [enroot, "import", "--output", path, f"docker://{named}"])
        script = Path(folder) / "start.sh"
        script.write_text(_SCRIPT.format(option=option), encoding="utf-8")
        return _said(
            image, [enroot, "start", "--rc", str(script), "--mount", f"{_RUNTIME}:{_INSIDE}", "--net", path]
        )


def _said(image: str, words: list[str]) -> str:
    """Run a container program and return its output; 1 and 3 are exit codes of a report."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 -- found above
    except OSError as error:
        raise ContainerError(f"'{words[0]}' does not start: {error.strerror or error}") from error
    if done.returncode in (0, 1, 3) and done.stdout.strip():
        return done.stdout
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise ContainerError(f"image '{image}': '{Path(words[0]).name} {words[1]}' failed: {last}")
