"""The stacks of a deployment's clusters."""

from __future__ import annotations

from importlib import import_module

import aws_cdk as cdk

from catalog.cluster_kinds import KINDS
from stacks.cluster_stack import ClusterStack, DeploymentContext


def cluster_stack(name: str) -> type[ClusterStack]:
    """Return the stack class of a kind of cluster: it has the name of the stack, and its module that of the kind."""
    found: type[ClusterStack] = getattr(import_module(f"stacks.{name}"), KINDS[name].stack_id)
    return found


def add_clusters(app: cdk.App, context: DeploymentContext) -> None:
    """Add the stacks of the clusters that the configuration asks for.

    A cluster's modules are imported only if it is configured, because each import slows down every synthesis.
    """
    for name in context.settings.clusters:
        cluster_stack(name)(app, KINDS[name].stack_id, context=context)
