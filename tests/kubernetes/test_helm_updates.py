"""Updates by the very helm that the stack's function runs, and removals while jobs are there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.kubectl import require_helm
from tests.kubernetes.plane.api import Api
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.releases import Release, releases
from tests.kubernetes.test_updates import EKS, EKS_STATES
from tests.synthesis import Synthesis
from trainforge.eks.objects import CHART


class Helm:
    """The helm of the kubectl layer, called as the CDK's Helm handler calls it."""

    def __init__(self, program: str, kubeconfig: Path, folder: Path) -> None:
        self.program, self.kubeconfig, self.folder = program, kubeconfig, folder

    def upgrade(self, release: Release) -> subprocess.CompletedProcess[str]:
        """Install a release or update it, without waiting for pods, which no node runs."""
        values = self.folder / f"{release.name}.json"
        values.write_text(json.dumps({"objects": list(release.documents)}), encoding="utf-8")
        return self._run("upgrade", release.name, str(CHART), "--install", "--values", str(values))

    def uninstall(self, name: str) -> subprocess.CompletedProcess[str]:
        """Take a release away, and wait until its objects are gone."""
        return self._run("uninstall", name, "--wait", "--timeout", "60s")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        own = {f"HELM_{name}_HOME": str(self.folder / name) for name in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(
            [self.program, *words, "--namespace", "kube-system", "--kubeconfig", str(self.kubeconfig)],
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **own},
        )


@pytest.fixture(scope="module")
def helm(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    folder = tmp_path_factory.mktemp("helm")
    return Helm(require_helm(folder), control_plane.kubeconfig, folder)


def place(synthesis: Synthesis) -> Release:
    """Return the release of the jobs' namespace."""
    (found,) = [one for one in releases(synthesis.templates[EKS]) if one.name.endswith("-namespace")]
    return found


def keys(release: Release) -> set[tuple[str, str, str, str]]:
    return {
        (one["apiVersion"], one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"])
        for one in release.documents
    }


def there(api: Api, all_keys: Sequence[tuple[str, str, str, str]]) -> set[tuple[str, str, str, str]]:
    found = {key: api.find(key[0], key[1], key[3], namespace=key[2]) for key in all_keys}
    return {key for key, one in found.items() if one and "deletionTimestamp" not in one["metadata"]}


@pytest.mark.heavy
def test_helm_updates_what_changes_deletes_what_leaves_and_refuses_what_is_immutable(
    helm: Helm, with_definitions: Api, synthesized: Callable[[str], Synthesis]
) -> None:
    first, shares, moved, other_first = (
        place(synthesized(EKS_STATES[name]))
        for name in (
            "all operators, queues",
            "other shares and types, no bucket",
            "another namespace, queues",
            "another first queue",
        )
    )
    every = sorted(keys(first) | keys(shares) | keys(other_first))
    try:
        for release in (first, shares, first):
            done = helm.upgrade(release)
            assert done.returncode == 0, done.stderr
            assert there(with_definitions, every) == keys(release)
        refused = helm.upgrade(moved)
        assert refused.returncode != 0
        assert "invalid ownership metadata" in refused.stderr
        refused = helm.upgrade(other_first)
        assert refused.returncode != 0
        assert "field is immutable" in refused.stderr
        # As a deployment that is rolled back does.
        done = helm.upgrade(first)
        assert done.returncode == 0, done.stderr
    finally:
        helm.uninstall(moved.name)
        done = helm.uninstall(first.name)
    assert done.returncode == 0, done.stderr
    assert there(with_definitions, every) == set()
