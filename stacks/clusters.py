"""The clusters of a deployment."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk

from settings.deployment import Settings
from stacks.network import NetworkStack
from stacks.services import Services
from stacks.storage import StorageStack


def clusters(
    app: cdk.App,
    *,
    settings: Settings,
    base: Path,
    network: NetworkStack,
    storage: StorageStack,
    services: Services,
    env: cdk.Environment,
) -> None:
    """Add the stacks of the clusters that the configuration asks for.

    `base` is the folder that relative paths in the configuration start from. A cluster's modules are imported only
    when it is wanted: each costs every synthesis that does not need it.
    """
    if settings.hyperpod:
        from stacks.hyperpod import HyperPodStack

        HyperPodStack(
            app,
            "HyperPodStack",
            settings=settings,
            base=base,
            network=network,
            storage=storage,
            services=services,
            env=env,
        )
    if settings.hyperpod_eks:
        from stacks.hyperpod_eks import HyperPodEksStack

        HyperPodEksStack(
            app, "HyperPodEksStack", settings=settings, network=network, storage=storage, env=env
        )
    if settings.parallelcluster:
        from stacks.parallelcluster import ParallelClusterStack

        ParallelClusterStack(
            app,
            "ParallelClusterStack",
            settings=settings,
            network=network,
            storage=storage,
            services=services,
            env=env,
        )
    if settings.eks:
        from stacks.eks import EksStack

        EksStack(app, "EksStack", settings=settings, network=network, storage=storage, env=env)
    if settings.batch:
        from stacks.batch import BatchStack

        BatchStack(app, "BatchStack", settings=settings, network=network, storage=storage, env=env)
