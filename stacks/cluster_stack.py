"""What the stack of every cluster begins and ends with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.site import Site
from settings.deployment import Settings
from stacks.network import NetworkStack
from stacks.storage import StorageStack


class ClusterStack(cdk.Stack):
    """A stack with a cluster that runs a configuration's pools, and tells of itself in a site.

    `section` is the cluster's key in the configuration; the stack's name follows from it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        section: str,
        title: str,
        pools: Sequence[str],
        settings: Settings,
        network: NetworkStack,
        storage: StorageStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-{section.replace('_', '-')}",
            description=f"trainforge {settings.name}: {title}",
        )
        self._settings, self._network, self._storage = settings, network, storage
        self._pools = [settings.pool(name) for name in pools]

    def _publish(self, site: Site, outputs: Iterable[tuple[str, str, str]]) -> None:
        """Publish the site where trainforge's commands look for it, and outputs as (id, value, description)."""
        parameter = ssm.StringParameter(
            self,
            "Site",
            parameter_name=Site.parameter_name(site.deployment, site.cluster),
            string_value=site.to_json(),
            description="What trainforge's commands know of this cluster",
            # A parameter holds 4 KiB, and 8 in the advanced tier.
            tier=ssm.ParameterTier.INTELLIGENT_TIERING,
        )
        of_all = ("SiteParameter", parameter.parameter_name, "SSM parameter with the cluster's site")
        for output_id, value, description in (*outputs, of_all):
            cdk.CfnOutput(self, output_id, value=value, description=description)
