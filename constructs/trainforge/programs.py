"""The folder of the programs that stacks ship: Lambda functions, set-up of nodes, directory server, exporters."""

from __future__ import annotations

from pathlib import Path

PROGRAMS = Path(__file__).parents[2] / "programs"
FUNCTIONS = PROGRAMS / "functions"
NODES = PROGRAMS / "nodes"
DIRECTORY_SERVER = PROGRAMS / "directory_server"
EXPORTERS = PROGRAMS / "exporters"
