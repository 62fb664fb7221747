"""The programs and documents of a control plane: the folder that `KUBEBUILDER_ASSETS` names.

It holds the programs below, and `manifests/<controller>/` with the documents of their makers. The repository holds none
of them; docs/kubernetes-tests.md says how to fill it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "KUBEBUILDER_ASSETS"
"""The name that controller-runtime's envtest gave this folder."""

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
CONTROLLERS = (
    "jobset-manager",
    "kuberay-operator",
    "kueue-manager",
    "mpi-operator",
    "trainer-manager",
    "training-operator",
)
GUIDE = "docs/kubernetes-tests.md says how to fill it"

Document = dict[str, Any]


class AssetsError(Exception):
    """The folder lacks programs or documents. The text names all of them."""


@dataclass(frozen=True, slots=True)
class Assets:
    """The folder of programs and documents."""

    folder: Path

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> Assets | None:
        """Return what the environment names; None where it names nothing."""
        named = environment.get(VARIABLE)
        return cls(Path(named).expanduser().resolve()) if named else None

    def check(self, programs: tuple[str, ...] = CONTROL_PLANE + CONTROLLERS) -> None:
        """Check that programs are there.

        Raises:
            AssetsError: some are absent, or cannot be executed.
        """
        if not self.folder.is_dir():
            raise AssetsError(f"{VARIABLE}={self.folder} is not a folder; {GUIDE}")
        absent = [name for name in programs if not os.access(self.folder / name, os.X_OK)]
        if absent:
            raise AssetsError(f"{VARIABLE}={self.folder} has no program {', '.join(absent)}; {GUIDE}")

    def program(self, name: str) -> Path:
        """Return the path of a program.

        Raises:
            AssetsError: it is absent.
        """
        self.check((name,))
        return self.folder / name

    def documents(self, controller: str, name: str) -> list[Document]:
        """Return the objects of a controller's `definitions`, `release` or `webhooks`.

        Raises:
            AssetsError: the folder has none.
        """
        path = self.folder / "manifests" / controller / f"{name}.json"
        if not path.exists():
            raise AssetsError(f"{VARIABLE}={self.folder} has no {path.relative_to(self.folder)}; {GUIDE}")
        return list(json.loads(path.read_text(encoding="utf-8")))
