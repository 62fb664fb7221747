"""A check that must succeed before a command starts: an MPI program's launch guard on every node, for one.

    python3 check_first.py -- CHECK... --then COMMAND...

When the check succeeds, this process becomes the command. Exit codes: the check's own where it fails (128 and the
number when a signal ended it), else the command's; 2 for a wrong command line, 127 when one cannot be started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from child_processes import become
from exit_codes import of_process

THEN = "--then"
"""The word between the check and the command; more of them are the command's own."""


def check_first(check: Sequence[str], command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the check and become the command; return the exit code where that cannot be."""
    starting = check
    try:
        code = subprocess.run(check, env=environment, check=False).returncode  # noqa: S603 -- this is what it is for
        if code:
            return of_process(code)
        starting = command
        become(command, environment)
    except OSError as error:
        sys.stderr.write(f"'{starting[0]}' cannot be started: {error}\n")
    return 127


def main() -> int:
    """Check and start by this process's command line."""
    # A signal that comes during the check ends this program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    first, *words = sys.argv[1:] or [""]
    if first != "--" or THEN not in words[1:-1]:
        sys.stderr.write(f"usage: check_first.py -- CHECK... {THEN} COMMAND...\n")
        return 2
    between = words.index(THEN, 1)
    return check_first(words[:between], words[between + 1 :], os.environ)


if __name__ == "__main__":
    sys.exit(main())
