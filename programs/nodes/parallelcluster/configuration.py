"""Reads `node.json`: the common configuration of nodes, and ParallelCluster's own."""

from __future__ import annotations

import json
from pathlib import Path

from ..common.configuration import Configuration, ConfigurationError, parsed
from .exporter import Exporter


def read(path: Path) -> tuple[Configuration, Exporter | None]:
    """Read and check the file.

    Raises:
        ConfigurationError: it is absent, not JSON, or has mistakes.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError([f"cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise ConfigurationError([f"is not JSON: {error}"]) from error
    exporter = data.pop("node_exporter", None) if isinstance(data, dict) else None
    configuration = parsed(data)
    if exporter is None:
        return configuration, None
    try:
        return configuration, Exporter(
            version=str(exporter["version"]),
            url=str(exporter["url"]),
            sha256={str(machine): str(digest) for machine, digest in exporter["sha256"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError([f"node_exporter: {error!r}"]) from error
