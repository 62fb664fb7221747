"""Settings of this process that must be made before it joins the others."""

from __future__ import annotations

import os
import resource


def raise_open_files() -> None:
    """Allow as many open files as this user may have.

    Each gloo group connects every rank with every other one, and a run has three: those for processors, for saving and
    for checkpoints being written. The usual soft limit of 1024 is too low from about 340 ranks on.
    """
    _, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))


def ask_determinism() -> None:
    """Let torch take only operations that give equal bits each time; one that has no such form raises.

    cuBLAS reads its variable when a process first uses it (cuBLAS documentation, "Results Reproducibility"). Memory
    that is not initialised is left so: filling it costs time and hides nothing here.
    """
    import torch

    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
