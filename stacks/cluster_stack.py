"""What the stack of every cluster begins and ends with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.site import Site
from settings.deployment import Settings
from stacks.network import NetworkStack
from stacks.services import Services
from stacks.storage import StorageStack


@dataclass(frozen=True, slots=True)
class Estate:
    """What every cluster of a deployment stands on: the configuration, its network, storage and services.

    `base` is the folder that relative paths in the configuration start from.
    """

    settings: Settings
    base: Path
    network: NetworkStack
    storage: StorageStack
    services: Services
    env: cdk.Environment


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
        estate: Estate,
    ) -> None:
        settings = estate.settings
        super().__init__(
            scope,
            construct_id,
            env=estate.env,
            stack_name=f"{settings.name}-{section.replace('_', '-')}",
            description=f"trainforge {settings.name}: {title}",
        )
        self._settings, self._network, self._storage = settings, estate.network, estate.storage
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
