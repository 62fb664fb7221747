"""Reads `node.json`: the common configuration of nodes, and ParallelCluster's own."""

from __future__ import annotations

import json
from pathlib import Path

from ..common.configuration import Configuration, ConfigurationError, parsed
from ..common.metrics import release_of
from ..common.release import Release


def read(path: Path) -> tuple[Configuration, Release | None]:
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
        return configuration, release_of(exporter)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError([f"node_exporter: {error!r}"]) from error
