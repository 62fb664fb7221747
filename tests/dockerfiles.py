"""Readers of the repository's Dockerfiles."""

from __future__ import annotations

from pathlib import Path

from tests.programs import ROOT
from workloads.images.image import DOCKERFILE

WORKLOADS = ROOT / "workloads"
BASE = WORKLOADS / DOCKERFILE
"""The Dockerfile of all base images."""


def instructions(path: Path) -> list[str]:
    """Return the instructions of a Dockerfile, a line each, without comments."""
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def arguments(path: Path) -> list[tuple[str, str | None]]:
    """Return the ARGs of a Dockerfile as (name, default)."""
    found = []
    for line in instructions(path):
        if line.startswith("ARG "):
            name, equals, default = line.removeprefix("ARG ").strip().partition("=")
            found.append((name, default if equals else None))
    return found
