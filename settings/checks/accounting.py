"""Rules on the accounting database: two zones, capacity on its grid, one database a cluster, and someone to use it."""

from __future__ import annotations

from collections.abc import Iterator

from settings.checks.rule import Problem, Subject, error, warning

SLURM_CLUSTERS = ("hyperpod", "parallelcluster")
"""Sections of the configuration that are clusters with Slurm, and so keep accounts."""


@error("accounting-zones", leans_on=("availability_zones",))
def _zones(subject: Subject) -> Iterator[Problem]:
    """An Aurora cluster's subnets lie in two zones at least (Aurora user guide, "DB subnet groups")."""
    zones = subject.settings.availability_zones
    if subject.settings.accounting and len(set(zones)) < 2:
        yield Problem(
            "availability_zones",
            zones,
            "the accounting database needs subnets in two zones, and the deployment has one",
            "add a second zone, or remove 'accounting': the clusters then keep accounts by themselves",
        )


@error("accounting-capacity")
def _capacity(subject: Subject) -> Iterator[Problem]:
    """Aurora takes capacities in steps of half a unit, the least not above the most.

    Source: Aurora user guide, "Aurora Serverless v2 capacity".
    """
    accounting = subject.settings.accounting
    if accounting is None:
        return
    for key in ("min_capacity_acu", "max_capacity_acu"):
        value = getattr(accounting, key)
        if value * 2 != int(value * 2):
            yield Problem(
                f"accounting.{key}", value, f"{value} is not a multiple of 0.5 Aurora capacity units"
            )
    if accounting.min_capacity_acu > accounting.max_capacity_acu:
        yield Problem(
            "accounting.min_capacity_acu",
            accounting.min_capacity_acu,
            f"the least capacity {accounting.min_capacity_acu} is above the most, "
            f"{accounting.max_capacity_acu}",
        )


@error("accounting-twice")
def _twice(subject: Subject) -> Iterator[Problem]:
    """A cluster keeps its accounts in one database."""
    hyperpod = subject.settings.hyperpod
    if subject.settings.accounting and hyperpod and hyperpod.accounting:
        yield Problem(
            "hyperpod.accounting",
            hyperpod.accounting.endpoint,
            "'accounting' makes a database for the clusters, and 'hyperpod.accounting' names another",
            "remove one of them",
        )


@warning("accounting-unused", leans_on=SLURM_CLUSTERS)
def _unused(subject: Subject) -> Iterator[Problem]:
    """Slurm keeps accounts; without a Slurm cluster the database is paid for and stays empty."""
    settings = subject.settings
    if settings.accounting and not any(getattr(settings, name, None) for name in SLURM_CLUSTERS):
        yield Problem(
            "accounting",
            "",
            "no cluster of this configuration runs Slurm, so nothing uses the accounting database",
            "remove 'accounting'",
        )


@warning("accounting-lifecycle")
def _lifecycle(subject: Subject) -> Iterator[Problem]:
    """The extension lets the controller follow the password; lifecycle scripts of your own take its place."""
    hyperpod = subject.settings.hyperpod
    if subject.settings.accounting and hyperpod and hyperpod.lifecycle_scripts:
        yield Problem(
            "hyperpod.lifecycle_scripts",
            hyperpod.lifecycle_scripts.directory,
            "scripts of your own take the place of the extension, which would give slurmdbd each new password",
            "follow the secret in them, or remove 'lifecycle_scripts'",
        )
