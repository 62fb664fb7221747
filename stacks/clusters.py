"""The stacks of a deployment's clusters."""

from __future__ import annotations

from importlib import import_module

import aws_cdk as cdk

from catalog.cluster_kinds import KINDS
from stacks.cluster_stack import ClusterStack, DeploymentContext


def cluster_stack(name: str) -> type[ClusterStack]:
    """Return the class of the stack of a kind of cluster: the one called as its stack, in the module called as it."""
    found: type[ClusterStack] = getattr(import_module(f"stacks.{name}"), KINDS[name].stack_id)
    return found


def add_clusters(app: cdk.App, context: DeploymentContext) -> None:
    """Add the stacks of the clusters that the configuration asks for.

    A cluster's modules are imported only when it is there: each costs every synthesis that does not need it.
    """
    for name in context.settings.clusters:
        cluster_stack(name)(app, KINDS[name].stack_id, context=context)
