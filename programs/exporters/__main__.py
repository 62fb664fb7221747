"""The command line of the exporters: the name of one, and its options."""

from __future__ import annotations

import importlib
import sys

_PROGRAMS = {
    "efa": "efa.exporter",
    "gpu-jobs": "gpu_jobs",
    "runs": "runs.exporter",
    "slurm": "slurm.exporter",
}
"""The programs by their names, each a module with `main(words)`."""


def main() -> int:
    """Run the program that the first word names, and return its exit code; 2 where there is none."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    module = _PROGRAMS.get(name)
    if module is None:
        sys.stderr.write(f"there is no exporter '{name}'; give one of {', '.join(sorted(_PROGRAMS))}\n")
        return 2
    code: int = importlib.import_module(f"{__package__}.{module}").main(sys.argv[2:])
    return code


if __name__ == "__main__":
    sys.exit(main())
