"""Code that is shipped without an image: the archive of a workload's folder on nodes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

FOLDER = "CODE_FOLDER"
"""The variable of a node with the folder that the archive was unpacked into."""

PACKAGES = "PACKAGES_FOLDER"
"""The variable of a node with the environment that requirements.txt was installed into."""

WORKLOAD, RUNTIME = "workload", "runtime"
"""The folders of an archive: the workload's own files, and the modules that workloads share."""

ARRIVAL_SECONDS = 900
"""Seconds for which a node waits for an archive: our choice. FSx shows a new object within seconds to minutes."""

NO_INPUT = 66
"""The exit code of a node that misses its input (EX_NOINPUT of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class ShippedCode:
    """An archive with a workload's folder and our runtime, by its absolute path on nodes.

    The file is a Python program that unpacks itself on the node (`runtime/code_archive.py`). `requirements` is true if
    the folder has a requirements.txt, which is installed once into an environment on the shared file system.
    """

    archive: str
    requirements: bool = False

    @property
    def program_folder(self) -> str:
        """The workload's folder on a node, as a shell expression."""
        return f"${FOLDER}/{WORKLOAD}"

    @property
    def runtime_folder(self) -> str:
        """The folder of the shared modules on a node, as a shell expression."""
        return f"${FOLDER}/{RUNTIME}"

    @property
    def unpacking(self) -> str:
        """The lines of a script that wait for the archive and unpack it, before anything else of a run."""
        archive = shlex.quote(self.archive)
        return (
            f"CODE={archive}\n"
            "SECONDS=0\n"
            f'until [ -s "$CODE" ] || [ "$SECONDS" -ge {ARRIVAL_SECONDS} ]; do sleep 2; done\n'
            f'[ -s "$CODE" ] || {{ echo "code archive $CODE did not arrive within {ARRIVAL_SECONDS} seconds" >&2; '
            f"exit {NO_INPUT}; }}\n"
            f'{FOLDER}="$(python3 "$CODE")" || exit\n'
            f"export {FOLDER}\n"
        )

    def environment(self, shared_folder: str) -> tuple[str, ...]:
        """Return the lines of a script that make the environment of its requirements, or find it, and use it."""
        if not self.requirements:
            return ()
        program = f'"{self.runtime_folder}/python_environment.py"'
        folders = f'--environments="{shared_folder}/environments" --logs="$RUN_FOLDER/nccl"'
        return (
            f'{PACKAGES}="$(python3 {program} {folders} "{self.program_folder}")" || exit',
            f'export PATH="${PACKAGES}/bin:$PATH"',
        )

    @property
    def search_path(self) -> str:
        """The folder that Python finds the packages of its requirements in, after a colon; empty where it has none."""
        return f":${PACKAGES}/packages" if self.requirements else ""
