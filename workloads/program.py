"""The program of a workload: a file, a Python module, or a command."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

FOLDER_VARIABLE = "PROGRAM_FOLDER"
"""The variable with the workload's folder on the node, for programs and arguments that need it."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Program:
    """A program, given in exactly one of three ways.

    `path` is a Python file: relative to the workload's folder, or absolute in the image. `module` is a Python module of
    the workload's folder, or one that is installed. `command` is a command with its first arguments; a word with a `$`
    is expanded on the node. `in_image` is true if the program is installed: a file of the image, or a module or a
    command of the image or of the virtual environment that takes the image's place.

    `working_directory` is relative to the workload's folder, or absolute in the image. Empty: the program starts in the
    directory that the scheduler chooses. PROGRAM_FOLDER is in its environment where it is a module or a command, or
    where an argument or a variable of the run names it; a file knows its own folder.
    """

    path: str = ""
    module: str = ""
    command: tuple[str, ...] = ()
    in_image: bool = False
    working_directory: str = ""

    def __post_init__(self) -> None:
        """Check that it is one program, at a place that exists on every node.

        Raises:
            ValueError: it is none or more than one, or a path leaves the workload's folder.
        """
        kinds = {"path": self.path, "module": self.module, "command": self.command}
        given = [kind for kind, value in kinds.items() if value]
        if len(given) != 1:
            raise ValueError(
                f"a program is one of path, module and command, and {' and '.join(given) or 'none'} is given"
            )
        if self.module and not _MODULE.fullmatch(self.module):
            raise ValueError(f"program module '{self.module}' is not the dotted name of a Python module")
        if self.command and not self.command[0]:
            raise ValueError("the first word of a program's command is empty")
        if self.path:
            _check_place("path", self.path, in_image=self.in_image)
        if self.working_directory:
            _check_place(
                "working directory",
                self.working_directory,
                in_image=PurePosixPath(self.working_directory).is_absolute(),
            )

    def __str__(self) -> str:
        """Return the path, the module or the command, as messages show it."""
        return self.path or self.module or " ".join(self.command)

    @property
    def needs_image(self) -> bool:
        """True if it cannot run without the image: a file or a working directory of it."""
        return bool(self.path and self.in_image) or self.working_directory.startswith("/")

    @property
    def in_folder(self) -> bool:
        """True if the program is a module of the workload's folder, which Python finds by its search path."""
        return bool(self.module) and not self.in_image

    def words(self, folder: str) -> list[str]:
        """Return the words that start one process of the program, whose workload is in `folder`."""
        if self.path:
            return ["python3", posixpath.join(folder, self.path)]
        if self.module:
            return ["python3", "-m", self.module]
        return list(self.command)

    def directory(self, folder: str) -> str:
        """Return the directory that the program starts in; empty where the scheduler chooses it."""
        return str(PurePosixPath(folder) / self.working_directory) if self.working_directory else ""

    def knows_folder(self, texts: Sequence[str]) -> bool:
        """Return whether PROGRAM_FOLDER is in its environment; `texts` are its arguments and variables."""
        return not self.path or any(FOLDER_VARIABLE in text for text in texts)


def _check_place(kind: str, place: str, *, in_image: bool) -> None:
    path = PurePosixPath(place)
    if in_image and not path.is_absolute():
        raise ValueError(f"program {kind} '{place}' is in the image and must be absolute there")
    if not in_image and (path.is_absolute() or ".." in path.parts):
        raise ValueError(
            f"program {kind} '{place}' must be below the workload's folder; one of the image is absolute and 'in_image'"
        )
