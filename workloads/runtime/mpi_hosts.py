"""The hosts of an MPI program by address, in place of the names that an operator's hostfile has.

    python3 mpi_hosts.py --names=/etc/mpi/hostfile --hosts=FILE -- mpirun --hostfile FILE ...

Open MPI 4.1 keeps a host's name up to its first digit in 50 characters and does not check its length
(`nidmap_create`, orte/mca/regx/fwd/regx_fwd.c): a longer one ends mpirun with a segmentation fault. The names of pods
are as long with their domain, which the MPI operator makes Open MPI keep. An address begins with a digit. The host
that this runs on is written as localhost. Then this process becomes the command.

Exit codes: the command's own; 2 for a wrong command line, 69 where the names cannot be read or the hosts not be
written, 79 when a name has no address within TRAINFORGE_RENDEZVOUS_SECONDS, 127 when there is no such command.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from child_processes import become
from durations import seconds
from exit_codes import LOST_NODE, UNAVAILABLE, USAGE
from nodes_folder import RENDEZVOUS_SECONDS, RENDEZVOUS_VARIABLE

_POLL_SECONDS = 0.5


def say(message: str) -> None:
    """Print to standard error, without a buffer."""
    sys.stderr.write(f"MPI hosts: {message}\n")
    sys.stderr.flush()


def address_of(name: str) -> str | None:
    """Return a host's address, an IPv4 one where it has both kinds; None where the name has none yet."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    found.sort(key=lambda one: one[0] is not socket.AF_INET)
    return str(found[0][4][0])


def by_address(
    names: str, own: str, deadline: float, look_up: Callable[[str], str | None] = address_of
) -> str:
    """Return the lines of a hostfile with addresses in place of names; the rest of a line is kept.

    `own` is the name of this host, with its domain or without.

    Raises:
        TimeoutError: a name has no address at the deadline, in monotonic seconds.
    """
    lines = []
    for line in filter(str.strip, names.splitlines()):
        name, *rest = line.split()
        found = "localhost" if name.partition(".")[0] == own.partition(".")[0] else look_up(name)
        while found is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"host '{name}' has no address in time")
            time.sleep(_POLL_SECONDS)
            found = look_up(name)
        lines.append(" ".join([found, *rest]) + "\n")
    return "".join(lines)


def prepare(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Write the hosts and become the command; return the exit code where that cannot be.

    Raises:
        ValueError: the variable with the time is no whole number.
        OSError: the names cannot be read, or the hosts not be written.
    """
    deadline = time.monotonic() + seconds(environment, RENDEZVOUS_VARIABLE, RENDEZVOUS_SECONDS)
    names = Path(options.names).read_text(encoding="utf-8")
    try:
        hosts = by_address(names, socket.gethostname(), deadline)
    except TimeoutError as error:
        say(str(error))
        return LOST_NODE
    Path(options.hosts).write_text(hosts, encoding="utf-8")
    try:
        become(options.command, environment)
    except OSError as error:
        say(f"'{options.command[0]}' cannot be started: {error.strerror}")
        return 127


def main() -> int:
    """Prepare and start by this process's command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--names", required=True, help="the operator's hostfile")
    parser.add_argument("--hosts", required=True, help="the hostfile to write")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        return prepare(options, os.environ)
    except ValueError as error:
        say(str(error))
        return USAGE
    except OSError as error:
        say(f"'{error.filename}': {error.strerror}")
        return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
