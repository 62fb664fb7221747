"""The agent that mpirun calls in place of ssh: it leaves the command of a node's daemon where the node waits for it.

    python3 mpi_agent.py NODE COMMAND...

The folder is in the variable TRAINFORGE_NODES_FOLDER, which mpi_rendezvous.py sets.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nodes_folder import COMMAND, NodesFolder

FOLDER_VARIABLE = "TRAINFORGE_NODES_FOLDER"
"""The variable with the folder of the nodes."""

ADDRESSES = "addresses"
"""The file of the folder with the nodes' addresses, one a line by the nodes' numbers, where they are the names."""

_PREFIX = "node-"


def host_name(node: int) -> str:
    """Return the name by which mpirun and its agent know a node."""
    return f"{_PREFIX}{node}"


def agent_words(runtime: Path = Path(__file__).parent) -> str:
    """Return the value of Open MPI's parameter plm_rsh_agent with which mpirun calls the agent in the folder `runtime`.

    A script of that folder names it: Python has replaced links in the paths of modules beside a script.

    Raises:
        ValueError: a path of it has a space or a colon. Open MPI takes words between spaces, and alternatives between
            colons, and nothing quotes them (orte_plm_rsh_search of its plm_rsh_component.c).
    """
    paths = (sys.executable, str(runtime.absolute() / Path(__file__).name))
    for path in paths:
        if re.search(r"[\s:]", path):
            raise ValueError(
                f"mpirun cannot start nodes by '{path}': Open MPI splits it at the space or colon; "
                "put Python and the workload into folders without them"
            )
    return " ".join(paths)


def leave_command(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Leave a command, in a shell's words, for the node that the first word names."""
    host, *command = words
    folder = NodesFolder(Path(environment[FOLDER_VARIABLE]))
    folder.tell(_number(host, folder.path), COMMAND, " ".join(command))


def _number(host: str, folder: Path) -> int:
    """Return the number of the node that a name or an address names."""
    if host.startswith(_PREFIX):
        return int(host.removeprefix(_PREFIX))
    return (folder / ADDRESSES).read_text(encoding="utf-8").split().index(host)


if __name__ == "__main__":
    leave_command(sys.argv[1:], os.environ)
