"""Every rule on settings, and the one function that runs them all."""

from __future__ import annotations

from pathlib import Path

from catalog.finding import Finding

# Each of these registers its rules; their order is that of the table of rules.
from settings.checks import (  # noqa: F401
    accounting,
    addresses,
    batch,
    capacity,
    checkpoints,
    deployed_update,
    directory,
    eks,
    eks_nodes,
    eks_queues,
    eks_software,
    environments,
    hyperpod,
    hyperpod_eks,
    hyperpod_eks_nodes,
    hyperpod_quotas,
    instances,
    kubernetes_update,
    lustre_efa,
    mounts,
    names,
    network,
    parallelcluster,
    parallelcluster_images,
    parallelcluster_nodes,
    parallelcluster_slurm,
    parallelcluster_update,
    people,
    regions,
    reservations,
    resources,
    scripts,
    storage,
    workloads,
    zones,
)
from settings.checks.rule import RULES, Rule, Subject
from settings.deployed import Deployed
from settings.deployment import Settings

__all__ = ["RULES", "Rule", "check"]


def check(settings: Settings, folder: Path | None = None, deployed: Deployed | None = None) -> list[Finding]:
    """Return what every rule finds, acknowledged or not.

    `folder` is where relative paths in the settings start from, that of the configuration file; without
    it the rules that look at files are silent. `deployed` is what stands, for rules on what a deployment
    would do to it; without it they are silent. `settings.acknowledgements.accepted` takes out what the
    configuration acknowledges.
    """
    subject = Subject(settings, folder, deployed)
    return [finding for rule in RULES.values() for finding in rule.findings(subject)]
