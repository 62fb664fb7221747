"""Kubernetes objects of ours as one Helm release: what leaves the list leaves the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from trainforge.eks.cluster import KubernetesCluster

CHART = Path(__file__).parent / "chart"
"""The chart: it has no text of its own, and writes the objects that its values hold."""

Document = Mapping[str, Any]
"""A Kubernetes object, as its API takes it."""

_MINUTES = 10


class Objects(Construct):
    """A Helm release of whole objects, in the order in which Helm installs kinds: namespaces and definitions first.

    A release and not `kubectl apply`: an object that the configuration no longer has is taken away, whatever its kind,
    and the end of the stack waits until all of them are gone, so that what deletes them for good (a driver, an
    operator) goes after them. `namespace` is where Helm keeps the release and must be there already. The asset is one
    for all releases of an app.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        release: str,
        documents: Sequence[Document],
        after: Sequence[Construct] = (),
        namespace: str = "kube-system",
    ) -> None:
        super().__init__(scope, construct_id)
        assert documents, "a release without objects installs nothing"
        self.documents = tuple(documents)
        self.release: eks.HelmChart = cluster.manifest_applier.chart(
            "Release",
            release=release,
            namespace=namespace,
            asset=s3_assets.Asset(self, "Chart", path=str(CHART)),
            values={"objects": list(documents)},
            timeout_minutes=_MINUTES,
            scope=self,
            after=after,
        )
