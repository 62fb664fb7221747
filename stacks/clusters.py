"""The clusters of a deployment."""

from __future__ import annotations

import aws_cdk as cdk

from stacks.cluster_stack import Estate


def clusters(app: cdk.App, estate: Estate) -> None:
    """Add the stacks of the clusters that the configuration asks for.

    A cluster's modules are imported only when it is wanted: each costs every synthesis that does not need it.
    """
    settings = estate.settings
    if settings.hyperpod:
        from stacks.hyperpod import HyperPodStack

        HyperPodStack(app, "HyperPodStack", estate=estate)
    if settings.hyperpod_eks:
        from stacks.hyperpod_eks import HyperPodEksStack

        HyperPodEksStack(app, "HyperPodEksStack", estate=estate)
    if settings.parallelcluster:
        from stacks.parallelcluster import ParallelClusterStack

        ParallelClusterStack(app, "ParallelClusterStack", estate=estate)
    if settings.eks:
        from stacks.eks import EksStack

        EksStack(app, "EksStack", estate=estate)
    if settings.batch:
        from stacks.batch import BatchStack

        BatchStack(app, "BatchStack", estate=estate)
