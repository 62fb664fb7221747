"""The programs of these tests have the versions that ran together, as the catalog has them."""

from __future__ import annotations

import re
from pathlib import Path

from catalog.versions import KUBERNETES
from tests.kubernetes.plane.assets import Assets


def modules(program: Path) -> dict[str, str]:
    """Return the versions of the Go modules that a program was built of, as its build information has them."""
    found = re.findall(rb"\n(?:mod|dep)\t(\S+)\tv([0-9][^\t\n]*)", program.read_bytes())
    return {name.decode(): version.decode() for name, version in found}


def test_programs_are_of_the_versions_that_ran_together(assets: Assets) -> None:
    expected = {
        ("kube-apiserver", "k8s.io/kubernetes"): KUBERNETES.versions["Kubernetes"],
        ("jobset-manager", "sigs.k8s.io/jobset"): KUBERNETES.versions["JobSet"],
        ("trainer-manager", "github.com/kubeflow/trainer/v2"): KUBERNETES.versions["Trainer"],
        ("training-operator", "github.com/kubeflow/training-operator"): KUBERNETES.versions[
            "training operator"
        ],
        ("mpi-operator", "github.com/kubeflow/mpi-operator"): KUBERNETES.versions["MPI operator"],
        ("kuberay-operator", "github.com/ray-project/kuberay/ray-operator"): KUBERNETES.versions["KubeRay"],
        ("kueue-manager", "sigs.k8s.io/kueue"): KUBERNETES.versions["Kueue"],
        ("kueue-manager", "github.com/kubeflow/trainer/v2"): KUBERNETES.built_against["Kueue"]["Trainer"],
    }
    found = {(name, module): modules(assets.program(name)).get(module, "") for name, module in expected}
    assert found == expected
