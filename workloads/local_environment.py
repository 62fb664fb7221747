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
import subprocess
import sys
import sysconfig
import venv
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
    with (folder / ".lock").open("w") as lock:
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
    if not any(line.startswith("torch==") for line in lines):
        packages = Path(sysconfig.get_path("purelib"))
        own = next((folder / "lib").glob("python*")) / "site-packages"
        (own / "shared.pth").write_text(f"{packages}\n", encoding="utf-8")
    # As a module: the first line of a program cannot name an interpreter in a path with a space.
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The words are our own: the interpreter above, and a file of the checkout.
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)  # noqa: S603
    torchrun = folder / "bin" / "torchrun"
    torchrun.write_text(_TORCHRUN, encoding="utf-8")
    torchrun.chmod(0o755)


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
