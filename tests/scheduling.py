"""Scheduling of tests: groups that one worker of pytest-xdist runs, and the order in which groups begin.

Tests of a module share what it deploys or starts, so a module is one group, and modules that use the same deployment
or run are one. A worker takes a group as a whole. (`--dist loadgroup` would do the same by marks, but xdist 3.8.0
writes them where pytest 9.2 no longer reads them, and spreads the tests in silence.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHARED = {
    "deployment": (
        "tests/deploy/test_deploy_hyperpod.py",
        "tests/deploy/test_deploy_network.py",
        "tests/deploy/test_deploy_storage.py",
        "tests/deploy/test_destroy.py",
    ),
    "whole_fsdp": (
        "tests/training/test_fsdp_faults.py",
        "tests/training/test_fsdp_run.py",
    ),
}
"""Fixtures of a session that take long to make, and the modules that use them: one group each."""

FOLDERS = {"tests/kubernetes": "kubernetes", "tests/machine_images": "machine_images"}
"""Folders whose tests are one group: those of tests/kubernetes share a cluster with all operators, those of
tests/machine_images a Debian root."""

APART = {
    f"tests/kubernetes/test_{name}.py": "kubernetes_apart"
    for name in (
        "capacity",
        "control_plane",
        "definitions",
        "demo",
        "helm_handler",
        "helm_updates",
        "objects",
        "own_cluster",
        "updates",
    )
}
"""Modules of tests/kubernetes that do not use what its group shares, and are a group of their own: a worker with all of
the folder would still be at it when the others have nothing left. The bridge of pods and the folder of webhooks'
certificates, of which a machine has one, are shared by whoever runs (tests/kubernetes/plane/shared_use.py)."""

FIRST = (
    "kubernetes",
    "training",
    "slurm",
    "machine_images",
    "guides",
    "deploy",
    "emulator",
    "peers",
    "directory",
    "snapshot",
    "unit",
)
"""Folders by how long their longest group takes: short groups at the end leave no worker without work."""

_GROUPS = {module: fixture for fixture, modules in SHARED.items() for module in modules}


def group(nodeid: str) -> str:
    """Return the group of a test: its module, or what its module shares with others."""
    module = nodeid.split("::", 1)[0]
    return _GROUPS.get(module) or APART.get(module) or FOLDERS.get(Path(module).parent.as_posix(), module)


def check_groups(items: list[pytest.Item]) -> None:
    """Check that modules which use a shared fixture are in its group.

    Raises:
        pytest.UsageError: one is not.
    """
    for item in items:
        module = item.nodeid.split("::", 1)[0]
        # A parameter may have a fixture's name, and then it is no fixture.
        parameters = set(item.callspec.params) if hasattr(item, "callspec") else set()
        for fixture in SHARED.keys() & set(getattr(item, "fixturenames", ())) - parameters:
            if _GROUPS.get(module) != fixture:
                raise pytest.UsageError(
                    f"{module} uses the fixture '{fixture}', which is made once for several modules; "
                    "add the module to SHARED in tests/scheduling.py, so that one worker runs them all"
                )


def sort_longest_first(items: list[pytest.Item]) -> None:
    """Sort tests by folder; those of a folder keep their order."""
    items.sort(key=lambda item: _rank(item.nodeid))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Return the scheduler of pytest-xdist that hands out these groups."""
    # Absent where tests run in one process.
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        """Hands a group to a worker as a whole."""

        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    # As `sort_longest_first` has them, not by the number of tests in a group.
    config.option.loadscopereorder = False
    return Groups(config, log)


def _rank(nodeid: str) -> int:
    folder = Path(nodeid.split("::", 1)[0]).parent.name
    return FIRST.index(folder) if folder in FIRST else len(FIRST)
