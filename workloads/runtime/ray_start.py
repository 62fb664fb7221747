"""The program `ray` on a node that is slow: a start may take five minutes, where Ray's own takes thirty seconds.

    python3 ray_start.py start --block --head ...

Ray ends a node that has not registered by then (ray 2.60, _private/node.py), and a job with its head. Python that comes
from a shared file system, or a node that others use, takes longer.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

START_SECONDS = 300
"""Seconds for which a node may register: our choice."""

PORT_VARIABLE = "RAY_gcs_server_port_wait_time_s"
"""The variable of Ray with the seconds for which its head waits for its own server; 30 by default (node.py)."""


def patient(get_node: Callable[..., Any], pause: float = 0.5) -> Callable[..., Any]:
    """Return a function that asks for a node until it is known; it raises as `get_node` does after START_SECONDS."""

    def get(*words: Any) -> Any:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return get_node(*words)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause)

    return get


def main() -> None:
    """Run `ray` with this process's words."""
    from ray._private import services
    from ray.scripts.scripts import main as ray

    os.environ.setdefault(PORT_VARIABLE, str(START_SECONDS))
    services.get_node = patient(services.get_node)
    sys.argv[0] = "ray"
    ray()


if __name__ == "__main__":
    main()
