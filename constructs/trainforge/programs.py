"""The folder of the programs that stacks ship: Lambda functions, the set-up of nodes, the directory server."""

from __future__ import annotations

from pathlib import Path

_PROGRAMS = Path(__file__).parents[2] / "programs"
FUNCTIONS = _PROGRAMS / "functions"
NODES = _PROGRAMS / "nodes"
DIRECTORY_SERVER = _PROGRAMS / "directory_server"
