"""The programs of these tests have the versions that ran together, as the catalog has them."""

from __future__ import annotations

import re
from pathlib import Path

from catalog.operators import RAN_TOGETHER
from tests.kubernetes.plane.assets import Assets


def modules(program: Path) -> dict[str, str]:
    """Return the versions of the Go modules that a program was built of, as its build information has them."""
    found = re.findall(rb"\n(?:mod|dep)\t(\S+)\tv([0-9][^\t\n]*)", program.read_bytes())
    return {name.decode(): version.decode() for name, version in found}


def test_programs_are_of_the_versions_that_ran_together(assets: Assets) -> None:
    expected = {
        ("kube-apiserver", "k8s.io/kubernetes"): RAN_TOGETHER.kubernetes,
        ("jobset-manager", "sigs.k8s.io/jobset"): RAN_TOGETHER.jobset,
        ("trainer-manager", "github.com/kubeflow/trainer/v2"): RAN_TOGETHER.trainer,
        ("training-operator", "github.com/kubeflow/training-operator"): RAN_TOGETHER.training_operator,
        ("mpi-operator", "github.com/kubeflow/mpi-operator"): RAN_TOGETHER.mpi_operator,
        ("kuberay-operator", "github.com/ray-project/kuberay/ray-operator"): RAN_TOGETHER.kuberay,
        ("kueue-manager", "sigs.k8s.io/kueue"): RAN_TOGETHER.kueue,
        ("kueue-manager", "github.com/kubeflow/trainer/v2"): RAN_TOGETHER.trainer_types_of_kueue,
    }
    found = {(name, module): modules(assets.program(name)).get(module, "") for name, module in expected}
    assert found == expected
