"""Virtual environments of workloads on this machine, for frameworks that cannot share one.

    python -m workloads.local_environment torchtitan      # as `make env-torchtitan` does

A workload whose folder has an `environment.txt` runs here in `.venv-NAME` of the checkout. The file is one of pip's
requirements, pinned. The environment takes torch and the other packages of the project's own environment, unless the
file names a torch of its own: then it is on its own. What the file names comes before what is shared.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from importlib import metadata
from pathlib import Path

from workloads import registry
from workloads.spec import package_of

ROOT = Path(__file__).parent.parent
"""The checkout."""

REQUIREMENTS = "environment.txt"
"""The file of a workload's folder that says what its environment has."""

# It finds the environment's interpreter as the launch line finds it: first on PATH.
_TORCHRUN = """#!/usr/bin/env python3
import sys
from torch.distributed.run import main
sys.exit(main())
"""


def requirements_of(name: str) -> Path | None:
    """Return the requirements of a workload's environment; None where it runs in the project's own."""
    file = Path(__file__).parent / package_of(name) / REQUIREMENTS
    return file if file.exists() else None


def environment_of(name: str) -> Path:
    """Return the folder of a workload's environment, which may not be there."""
    return ROOT / f".venv-{name}"


def is_made(name: str) -> bool:
    """Return whether a workload's environment is there, with what its requirements are today."""
    requirements = requirements_of(name)
    if requirements is None:
        return False
    stamp = environment_of(name) / ".complete"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _digest(requirements)


def make(name: str) -> Path:
    """Make a workload's environment unless it is there, and return its folder. Several may ask for it at once.

    Raises:
        ValueError: the workload runs in the project's own environment.
        subprocess.CalledProcessError: pip failed; it has said why.
    """
    requirements = requirements_of(name)
    if requirements is None:
        raise ValueError(
            f"'{name}' has no {REQUIREMENTS}: it runs in the project's own environment (make setup-train)"
        )
    folder = environment_of(name)
    folder.mkdir(exist_ok=True)
    # Not `.lock`: uv locks an environment by a file of this name, and would wait five minutes for ours.
    with (folder / ".making").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made(name):
            _install(folder, requirements)
            (folder / ".complete").write_text(_digest(requirements), encoding="utf-8")
    return folder


def _install(folder: Path, requirements: Path) -> None:
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True, symlinks=True)
    lines = requirements.read_text(encoding="utf-8").splitlines()
    seen: list[str] = []
    if not any(line.startswith("torch==") for line in lines):
        shared = sysconfig.get_path("purelib")
        own = next((folder / "lib").glob("python*")) / "site-packages"
        (own / "shared.pth").write_text(f"{shared}\n", encoding="utf-8")
        seen = [shared, str(own)]
    # uv takes a tenth of pip's time. pip takes its place where it cannot: its own configuration may name an index.
    if not _install_by_uv(python, requirements, seen):
        # As a module: the first line of a program cannot name an interpreter in a path with a space.
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # The words are our own: the interpreter above, and a file of the checkout.
        subprocess.run([*pip, "--requirement", str(requirements)], check=True)  # noqa: S603
    torchrun = folder / "bin" / "torchrun"
    torchrun.write_text(_TORCHRUN, encoding="utf-8")
    torchrun.chmod(0o755)


def _install_by_uv(python: Path, requirements: Path, seen: list[str]) -> bool:
    """Install by uv where the project's own environment has it; return whether all is installed.

    `seen` are the folders of packages that the environment sees, the first ones last; uv itself does not see what is
    shared. It chooses versions that are there where it can, and these are not installed.
    """
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        return False

    def run(verb: str, *options: str | Path) -> bool:
        words = [uv, "pip", verb, "--quiet", "--python", python, *options]
        # The words are our own: a program of the environment, and files of the checkout.
        return subprocess.run(words, check=False).returncode == 0  # noqa: S603

    if not seen:
        return run("install", "--requirement", requirements)
    with tempfile.TemporaryDirectory() as name:
        pins, left_out = Path(name) / "pins.txt", Path(name) / "left_out.txt"
        there = {
            _normal(each.name): each.version for path in seen for each in metadata.distributions(path=[path])
        }
        pins.write_text("".join(f"{name}=={version}\n" for name, version in there.items()), "utf-8")
        # A build of its own, as torch for processors, is shared: an index may not have it.
        builds = (name for name, version in there.items() if "+" in version)
        left_out.write_text("".join(f"{name}; python_version < '3'\n" for name in builds), "utf-8")
        plain = ("--no-header", "--no-annotate")
        if not run("compile", *plain, f"--override={left_out}", f"--output-file={pins}", requirements):
            return False
        chosen = (line.partition("==") for line in pins.read_text(encoding="utf-8").splitlines())
        missing = [f"{name}=={version}\n" for name, _, version in chosen if there.get(name) != version]
        pins.write_text("".join(missing), encoding="utf-8")
        return run("install", "--no-deps", "--requirement", pins)


def _normal(name: str) -> str:
    """Return a package's name as indexes have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _digest(requirements: Path) -> str:
    text = f"{sys.version_info[:2]}\n{requirements.read_text(encoding='utf-8')}"
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Make the environment that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    names = [name for name in registry.names() if requirements_of(name)]
    parser.add_argument("name", choices=names, help="the workload")
    chosen = parser.parse_args()
    try:
        sys.stdout.write(f"{make(chosen.name)}\n")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: pip ended with exit code {error.returncode}; run the same command again")


if __name__ == "__main__":
    main()
