"""The address of rank 0's node, found on every node of a job and printed.

    python3 rank0_address.py batch|slurm

AWS Batch gives it to all nodes but the main one, which finds its own. Slurm gives the names of the step's nodes, and
their addresses on request: a container, which cannot ask, gets those of the job in ADDRESSES. Exit codes: 0; 69 when
the scheduler does not say it, scontrol's own when that fails.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

from exit_codes import UNAVAILABLE

_FIRST = re.compile(r"([^],[]*)(?:\[([0-9]+)[^]]*\])?([^],[]*)")
"""The first name of a list of nodes, which is written as p[3-5,7]s,q: what is around the bracket, and the bracket's
first number."""


def batch(environment: Mapping[str, str]) -> str:
    """Return the address of the main node of a job in AWS Batch.

    Raises:
        LookupError: this is another node, and Batch did not tell it.
    """
    address = environment.get("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS", "")
    node = environment["AWS_BATCH_JOB_NODE_INDEX"]
    if address:
        return address
    if node != environment["AWS_BATCH_JOB_MAIN_NODE_INDEX"]:
        raise LookupError(f"node {node}: AWS Batch did not say where the main node is")
    # The address of the outgoing interface; connecting a datagram socket sends nothing.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own: str = probe.getsockname()[0]
        return own


def slurm(environment: Mapping[str, str]) -> str:
    """Return the address of the first node of a step in Slurm, or its name if the address is unknown.

    Of the step and not of the job: a step that HyperPod resumes has other nodes than the job began with. A node that
    is new since then is known to a container by its name only.

    Raises:
        CalledProcessError: scontrol failed.
    """
    found = _FIRST.match(environment["SLURM_STEP_NODELIST"])
    first = "".join(part or "" for part in found.groups()) if found else ""
    addresses = environment.get("ADDRESSES", "")
    if scontrol := shutil.which("scontrol", path=environment.get("PATH")):
        addresses = subprocess.run(  # noqa: S603 -- Slurm's own program, with a name that Slurm gave
            [scontrol, "getaddrs", first], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    # A line is a name, a colon, the address, a colon and a port.
    known = dict(line.split(":", maxsplit=1) for line in addresses.splitlines() if ":" in line)
    return known.get(first, "").strip().rpartition(":")[0] or first


SCHEDULERS: Mapping[str, Callable[[Mapping[str, str]], str]] = {"batch": batch, "slurm": slurm}


def main() -> int:
    """Print the address by the scheduler that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1] not in SCHEDULERS:
        sys.stderr.write(f"usage: rank0_address.py {'|'.join(SCHEDULERS)}\n")
        return 2
    try:
        sys.stdout.write(f"{SCHEDULERS[sys.argv[1]](os.environ)}\n")
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return UNAVAILABLE
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
