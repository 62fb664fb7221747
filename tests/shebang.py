"""The first lines of scripts for a Python, whatever its path; as a program, it corrects those that pip wrote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

_MAX_LINE = 127
"""Characters that every Linux reads of a `#!` line: 128 with the end of the line until Linux 5.1, 256 since."""


def shebang(python: str = sys.executable, options: str = "") -> str:
    """Return the first lines of a script for a Python: a `#!` line cannot name a path that has a space.

    `options` are of Python, such as `-S`.
    """
    return f"""#!/bin/sh
'''exec' "{python}" {options} "$0" "$@"
' '''"""


def correct(programs: Path) -> list[str]:
    """Correct the scripts in `programs`, a virtual environment's folder of programs, and return their names.

    pip writes a first line that works for the programs it makes itself. For scripts that a package brings (the AWS
    CLI's `aws`) it writes `#!` and the path of Python, with its spaces, which no kernel takes.
    """
    corrected = []
    for script in sorted(programs.iterdir()):
        if not script.is_file():
            continue
        with script.open("rb") as file:
            if file.read(2) != b"#!":
                continue
            python = file.readline().rstrip(b"\r\n").decode(errors="replace")
            rest = file.read()
        # A path of this folder is all that the line has: without options, which pip never writes.
        if Path(python).parent != programs or not (" " in python or len(python) + 2 > _MAX_LINE):
            continue
        # Written in place, which keeps the mode.
        script.write_bytes(f"{shebang(python)}\n".encode() + rest)
        corrected.append(script.name)
    return corrected


def main(arguments: Sequence[str]) -> None:
    """Correct the scripts of virtual environments, given by their folders."""
    for environment in arguments:
        # Not resolved: pip writes the path by which it was called, links and all.
        correct(Path(environment).absolute() / "bin")


if __name__ == "__main__":
    main(sys.argv[1:])
