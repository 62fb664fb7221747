"""The folders of programs that stacks ship: functions, node set-up, directory server, exporters, health checks."""

from __future__ import annotations

from pathlib import Path

PROGRAMS = Path(__file__).parents[2] / "programs"
FUNCTIONS = PROGRAMS / "functions"
NODES = PROGRAMS / "nodes"
DIRECTORY_SERVER = PROGRAMS / "directory_server"
EXPORTERS = PROGRAMS / "exporters"
HEALTH_AGENT = PROGRAMS / "health_agent"
HEALTH = PROGRAMS.parent / "workloads" / "runtime" / "health"
