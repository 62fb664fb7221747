"""Custom resource definitions of the operators on a Kubernetes cluster; each definition has one owner only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
