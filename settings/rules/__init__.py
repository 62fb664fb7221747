"""The rules on settings, one module per subject, and the one function that runs them all."""

from __future__ import annotations

from pathlib import Path

from catalog.finding import Finding
from settings.deployed import Deployed
from settings.deployment import Settings

# Each of these registers its rules; their order is that of the table of rules.
from settings.rules import (  # noqa: F401
    batch,
    capacity,
    cluster_update,
    containers,
    deployment,
    eks,
    eks_software,
    hyperpod,
    hyperpod_eks,
    images,
    network,
    node_updates,
    observability,
    own_code,
    parallelcluster,
    parallelcluster_nodes,
    pools,
    shared_services,
    storage,
    update,
    workloads,
)
from settings.rules.rule import RULES, Rule, Subject

__all__ = ["RULES", "Rule", "check"]


def check(settings: Settings, folder: Path | None = None, deployed: Deployed | None = None) -> list[Finding]:
    """Return the findings of every rule, acknowledged or not.

    `folder` is where relative paths in the settings start from, that of the configuration file; without
    it the rules that look at files are silent. `deployed` is what is deployed, for rules on what a deployment
    would do to it; without it they are silent. `settings.acknowledgements.accepted` takes out what the
    configuration acknowledges.
    """
    subject = Subject(settings, folder, deployed)
    return [finding for rule in RULES.values() for finding in rule.findings(subject)]
