"""Pins of EKS add-ons by Kubernetes version, and the add-ons whose version EKS selects."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from catalog.versions.pin import Pin

_READ = "read 2026-11-29 in excerpts; not installed here"
_DEFAULTS = (
    f"public repositories that record EKS's answers of August to October 2026 for this Kubernetes, {_READ}"
)
_OBSERVED = f"a public report of one running cluster of this Kubernetes, August 2026, {_READ}"
_PINNED = f"one public project that pins it on this Kubernetes, {_READ}; unverified"
_EXPORTERS = f"one public project that names it as what runs on this Kubernetes, {_READ}; unverified"


def _pins(kubernetes: str, versions: Mapping[str, tuple[str, str]]) -> Mapping[str, Pin]:
    return MappingProxyType(
        {
            name: Pin(f"EKS add-on {name} on Kubernetes {kubernetes}", version, source)
            for name, (version, source) in versions.items()
        }
    )


ADD_ONS: Final[Mapping[str, Mapping[str, Pin]]] = MappingProxyType(
    {
        "1.34": _pins(
            "1.34",
            {
                "vpc-cni": ("v1.22.4-eksbuild.3", _DEFAULTS),
                "coredns": ("v1.12.4-eksbuild.38", _DEFAULTS),
                "kube-proxy": ("v1.34.6-eksbuild.29", _DEFAULTS),
                "eks-pod-identity-agent": ("v1.3.10-eksbuild.3", _DEFAULTS),
                "aws-ebs-csi-driver": ("v1.66.0-eksbuild.1", _DEFAULTS),
                "metrics-server": ("v0.9.0-eksbuild.11", _DEFAULTS),
                "amazon-sagemaker-hyperpod-training-operator": (
                    "v1.2.1-eksbuild.1",
                    "awslabs/awsome-distributed-ai, pull request 1076: the default on Kubernetes 1.28 to 1.35",
                ),
                "amazon-sagemaker-hyperpod-taskgovernance": (
                    "v1.6.0-eksbuild.1",
                    f"SageMaker guide, 'Upgrade to the latest version of HyperPod task governance'; {_OBSERVED}",
                ),
            },
        ),
        "1.35": _pins(
            "1.35",
            {
                "vpc-cni": ("v1.22.4-eksbuild.3", _DEFAULTS),
                "coredns": ("v1.13.2-eksbuild.31", _DEFAULTS),
                "kube-proxy": ("v1.35.3-eksbuild.29", _DEFAULTS),
                "eks-pod-identity-agent": ("v1.3.10-eksbuild.3", _DEFAULTS),
                "aws-ebs-csi-driver": ("v1.66.0-eksbuild.1", _DEFAULTS),
                "metrics-server": ("v0.9.0-eksbuild.11", _DEFAULTS),
                "aws-mountpoint-s3-csi-driver": ("v2.7.0-eksbuild.1", _OBSERVED),
                "aws-fsx-csi-driver": (
                    "v1.8.0-eksbuild.2",
                    f"awslabs/global-capacity-orchestrator-on-aws, commit b4bb7b16f465, {_READ}",
                ),
                "eks-node-monitoring-agent": ("v1.6.4-eksbuild.1", _PINNED),
                "prometheus-node-exporter": ("v1.11.1-eksbuild.7", _EXPORTERS),
                "kube-state-metrics": ("v2.19.1-eksbuild.2", _EXPORTERS),
            },
        ),
    }
)
"""The version of each add-on, by Kubernetes version and name. A build belongs to a Kubernetes version: EKS refuses
others."""

_NO_SOURCE = "no source states its build"
UNPINNED_ADD_ONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "1.34": MappingProxyType(
            {
                "aws-fsx-csi-driver": _NO_SOURCE,
                "aws-mountpoint-s3-csi-driver": _NO_SOURCE,
                "amazon-sagemaker-hyperpod-observability": "its newest version is stated without the build",
                "cert-manager": "EKS's version differs by region",
                "kube-state-metrics": _NO_SOURCE,
                "prometheus-node-exporter": _NO_SOURCE,
            }
        ),
        "1.35": MappingProxyType({"cert-manager": "EKS's version differs by region"}),
    }
)
"""Add-ons that stacks install and whose version EKS selects, by Kubernetes version, each with the reason."""


def add_on_version(name: str, kubernetes: str) -> str | None:
    """Return the pinned version of an add-on for a Kubernetes version, or None: EKS selects its default."""
    pin = ADD_ONS.get(kubernetes, {}).get(name)
    return None if pin is None else str(pin)
