"""Custom resource definitions of the operators on a Kubernetes cluster; each definition has one owner only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

PYTORCHJOBS: Final = "pytorchjobs.kubeflow.org"
MPIJOBS: Final = "mpijobs.kubeflow.org"

_KUEUE = tuple(
    f"{plural}.kueue.x-k8s.io"
    for plural in (
        "admissionchecks",
        "clusterqueues",
        "cohorts",
        "localqueues",
        "multikueueclusters",
        "multikueueconfigs",
        "provisioningrequestconfigs",
        "resourceflavors",
        "topologies",
        "workloadpriorityclasses",
        "workloads",
    )
)
_CERT_MANAGER = (
    "certificaterequests.cert-manager.io",
    "certificates.cert-manager.io",
    "clusterissuers.cert-manager.io",
    "issuers.cert-manager.io",
)

DEFINITIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "trainer": (
        "clustertrainingruntimes.trainer.kubeflow.org",
        "jobsets.jobset.x-k8s.io",
        "trainingruntimes.trainer.kubeflow.org",
        "trainjobs.trainer.kubeflow.org",
    ),
    "training-operator": (PYTORCHJOBS,),
    "mpi-operator": (MPIJOBS,),
    "kuberay": ("rayclusters.ray.io", "rayjobs.ray.io", "rayservices.ray.io"),
    "kueue": _KUEUE,
    "gpu-operator": (
        "clusterpolicies.nvidia.com",
        "nodefeatures.nfd.k8s-sigs.io",
        "nvidiadrivers.nvidia.com",
    ),
    "cert-manager": _CERT_MANAGER,
    "kubeflow-training-operator": (
        "jaxjobs.kubeflow.org",
        MPIJOBS,
        "paddlejobs.kubeflow.org",
        PYTORCHJOBS,
        "tfjobs.kubeflow.org",
        "xgboostjobs.kubeflow.org",
    ),
    "amazon-sagemaker-hyperpod-taskgovernance": _KUEUE,
    "amazon-sagemaker-hyperpod-training-operator": ("hyperpodpytorchjobs.sagemaker.amazonaws.com",),
    "hyperpod-dependencies": (MPIJOBS, PYTORCHJOBS),
}
"""Custom resource definitions by the software that installs them: our operators, EKS add-ons, and other installations.

`training-operator` is ours, with one scheme; `kubeflow-training-operator` is Kubeflow's own installation, which brings
the definition of MPIJob too, of an older version than the MPI operator's. `hyperpod-dependencies` is HyperPod's chart.
Sources: the charts and manifests at the versions that `catalog.versions` pins; for HyperPod's chart the templates of
aws/sagemaker-hyperpod-cli (June 2026); for task governance, its documentation, which says that it installs Kueue.
"""


@dataclass(frozen=True, slots=True)
class Combination:
    """Versions that ran on one cluster together, and `source`, the test that ran them.

    A controller that writes an object back drops the fields that its own types lack. `trainer_types_of_kueue` is the
    version of Trainer whose types Kueue was built with: a TrainJob may use only fields of that version.
    """

    kubernetes: str
    jobset: str
    trainer: str
    training_operator: str
    mpi_operator: str
    kuberay: str
    kueue: str
    trainer_types_of_kueue: str
    source: str


RAN_TOGETHER: Final = Combination(
    kubernetes="1.35.4",
    jobset="0.12.0",
    trainer="2.3.0",
    training_operator="1.9.3",
    mpi_operator="0.8.0",
    kuberay="1.5.0",
    kueue="0.19.2",
    trainer_types_of_kueue="2.2.1",
    source="tests/kubernetes/test_admission.py: jobs of each shape are admitted, keep their fields and get pods; the "
    "versions are those of the programs' own build information",
)
"""The combination that the stacks install and the tests run; a test holds the pins to it."""


def clashes(owners: Iterable[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return the pairs that install the same definitions, in order, with these; an unknown name installs none."""
    names = list(dict.fromkeys(owners))
    found = []
    for index, second in enumerate(names):
        for first in names[:index]:
            theirs = set(DEFINITIONS.get(first, ()))
            both = tuple(one for one in DEFINITIONS.get(second, ()) if one in theirs)
            if both:
                found.append((first, second, both))
    return found
