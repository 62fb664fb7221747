"""A Helm release: brought to what is wanted, or taken away, in the time that is left. The options are helm 4's."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HELM = "/opt/helm/helm"
"""Where the CDK's kubectl layer puts it; the variable HELM names another."""
_MARGIN_SECONDS = 30
"""What a helm that is told to stop may take until it does."""
_LEAST_SECONDS = 15
_TRIES = 3
_PAUSE_SECONDS = 5
_PASSING = (
    "timeout",
    "timed out",
    "connection refused",
    "connection reset",
    "EOF",
    "TLS handshake",
    "no such host",
    "503",
    "502",
    "429",
)
"""What the words of a failure hold that is gone when it is tried again."""


class HelmError(Exception):
    """Helm failed; the text is what it said last."""


class Release:
    """One release of a chart in a namespace; every call ends before `deadline` (time.monotonic, seconds)."""

    def __init__(self, name: str, namespace: str, kubeconfig: Path, deadline: float) -> None:
        self._name, self._namespace = name, namespace
        self._deadline = deadline
        home = kubeconfig.parent / "helm"
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(kubeconfig.parent),
            "KUBECONFIG": str(kubeconfig),
            "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"),
            "HELM_DATA_HOME": str(home / "data"),
        }

    def apply(self, chart: Path, values: Mapping[str, Any], archives: Mapping[str, str]) -> None:
        """Install the chart, or bring the release to it; on failure the release is what it was before.

        The chart has no lock file, so helm resolves its dependencies by their exact versions. `archives` maps the
        file of each that comes from a chart repository to its SHA-256.

        Raises:
            HelmError: the chart's parts cannot be fetched, the cluster refuses, or pods are not ready in time.
            ValueError: a part is another than `archives` says.
        """
        self._settle()
        file = chart.parent / "values.json"
        file.write_text(json.dumps(values), encoding="utf-8")
        self._run("dependency", "update", str(chart), tries=_TRIES)
        for name, digest in archives.items():
            _verify(chart / "charts" / name, digest)
        self._run(
            *("upgrade", self._name, str(chart), "--install", "--namespace", self._namespace),
            *("--values", str(file), "--rollback-on-failure", "--wait", "--history-max", "3"),
            timed=True,
        )

    def remove(self) -> None:
        """Uninstall it; one that never existed is removed already.

        Raises:
            HelmError: the cluster refuses.
        """
        if self._status():
            self._run("uninstall", self._name, "--namespace", self._namespace, "--wait", timed=True)

    def _settle(self) -> None:
        """Undo what an earlier call left half-done: helm refuses to touch a release that is in the middle of one."""
        status = self._status()
        if status in {"pending-install", "uninstalling"}:
            self._run("uninstall", self._name, "--namespace", self._namespace, "--wait", timed=True)
        elif status in {"pending-upgrade", "pending-rollback"}:
            self._run("rollback", self._name, "--namespace", self._namespace, "--wait", timed=True)

    def _status(self) -> str:
        """Return how the release is doing, empty where there is none."""
        listed = self._run(
            *("list", "--namespace", self._namespace, "--filter", f"^{self._name}$", "--output", "json"),
            tries=_TRIES,
        )
        found = json.loads(listed or "[]")
        return str(found[0]["status"]) if found else ""

    def _run(self, *arguments: str, timed: bool = False, tries: int = 1) -> str:
        for attempt in range(1, tries + 1):
            left = int(self._deadline - time.monotonic())
            if left < _LEAST_SECONDS:
                raise HelmError(f"no time is left for 'helm {arguments[0]}'")
            bound = ["--timeout", f"{max(left - _MARGIN_SECONDS, _LEAST_SECONDS)}s"] if timed else []
            command = [os.environ.get("HELM", _HELM), *arguments, *bound]
            try:
                done = subprocess.run(  # noqa: S603 arguments of ours, no shell
                    command, env=self._environment, capture_output=True, text=True, timeout=left, check=False
                )
            except subprocess.TimeoutExpired:
                raise HelmError(f"'helm {arguments[0]}' did not end in {left} s") from None
            if done.returncode == 0:
                return done.stdout
            said = done.stderr.strip() or done.stdout.strip()
            if attempt == tries or not any(word in said for word in _PASSING):
                raise HelmError(f"'helm {arguments[0]}' failed: {said[-700:]}")
            time.sleep(_PAUSE_SECONDS)
        raise AssertionError("tries are at least one")


def _verify(archive: Path, digest: str) -> None:
    if not archive.is_file():
        raise ValueError(f"helm did not fetch '{archive.name}'; the chart's dependencies are others")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != digest:
        raise ValueError(f"'{archive.name}' has the digest '{found}', not '{digest}': nothing was installed")
