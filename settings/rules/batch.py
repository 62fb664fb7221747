"""Rules on AWS Batch: what its hosts boot from, where jobs keep their files, shares, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import PurePosixPath

from catalog.batch import SCRATCH, host_image
from catalog.cluster_kinds import BATCH, KINDS
from catalog.instance_facts import InstanceFacts
from catalog.interfaces import groups_on_interfaces
from catalog.pool import Pool
from settings.deployment import Settings
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.secret_arn import secret_problem
from settings.rules.selection import facts, own_name, uses
from workloads import registry

SECTION = BATCH.name

# botocore: batch ShareAttributes.
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}\*?")
_MIN_WEIGHT, _MAX_WEIGHT = 0.0001, 999.9999


def _pools(settings: Settings) -> Iterator[tuple[Pool, InstanceFacts]]:
    """Yield the pools of Batch that exist, of types that the catalog has."""
    for use in uses(settings):
        found = facts(use.pool.instance_type) if use.pool else None
        if use.cluster == SECTION and use.pool and found:
            yield use.pool, found


@error("batch-image", too_strict=True)
def _image(subject: Subject) -> Iterator[Problem]:
    """Batch boots hosts from ECS-optimized images, and has none for some accelerated types.

    Source: botocore, batch Ec2Configuration. Too strict where Batch has added an image since.
    """
    for pool, found in _pools(subject.settings):
        if host_image(found) is None:
            yield Problem(
                f"pools.{pool.name}.instance_type",
                pool.instance_type,
                f"pool '{pool.name}': Batch has no image for '{found.name}' ({found.architecture} with GPUs)",
                "use another type, or another cluster for this pool",
            )


@warning("batch-interface")
def _interface(subject: Subject) -> Iterator[Problem]:
    """ECS attaches an interface to the host for each job's container, which needs room on the primary network card.

    Source: Batch User Guide, "Compute environment considerations for MNP"; interfaces a card: DescribeInstanceTypes.
    """
    for pool, found in _pools(subject.settings):
        if found.supports_efa and not KINDS[SECTION].has_room(pool):
            yield Problem(
                f"pools.{pool.name}.instance_type",
                pool.instance_type,
                f"pool '{pool.name}': the first network card of '{found.name}' takes "
                f"{found.network_cards[0].max_interfaces} interfaces, and EFA takes them all: the one of a job's "
                "container may not attach, and the job would stay in STARTING",
                "try one node first, or use another type",
            )


@warning("batch-default-group", depends_on=("network", "pools"))
def _default_group(subject: Subject) -> Iterator[Problem]:
    """Ranks of jobs on nodes with EFA use the VPC's default security group, which Batch gives their containers.

    Batch takes no group beside interfaces in a launch template (aws/aws-cdk#21577), and the default one where there is
    none (Batch User Guide, "Compute environment considerations for MNP"). In a VPC of ours it has the rules.
    """
    existing = subject.settings.network.existing
    pools = [pool.name for pool, found in _pools(subject.settings) if groups_on_interfaces(found)]
    if existing and pools:
        yield Problem(
            "network.existing.vpc_id",
            existing.vpc_id,
            f"jobs on {listed(pools, 'and')} communicate through the default security group of "
            f"'{shown(existing.vpc_id)}', whose rules are unknown here",
            "allow TCP from the group to itself, and outbound traffic",
        )


@error("batch-storage", depends_on=("storage",))
def _storage(subject: Subject) -> Iterator[Problem]:
    """Runs, checkpoints and logs of a job are in the Lustre file system that every host mounts."""
    if subject.settings.batch is None:
        return
    lustre = subject.settings.storage.lustre
    if lustre is None:
        yield Problem(
            "storage.lustre",
            None,
            "jobs of Batch need a shared file system: without Lustre a run's folder would be deleted with its host",
            "add 'lustre: {}' under 'storage'",
        )
    elif PurePosixPath(SCRATCH) in (folder := PurePosixPath(lustre.mount_path), *folder.parents):
        yield Problem(
            "storage.lustre.mount_path",
            lustre.mount_path,
            f"hosts of Batch have their own disks at '{SCRATCH}'",
            "choose another folder, such as '/fsx'",
        )


@error("batch-min-nodes", depends_on=("pools", "batch.pools"))
def _kept(subject: Subject) -> Iterator[Problem]:
    """Nodes that always run are some of the pool's."""
    batch = subject.settings.batch
    for name, count in (batch.min_nodes if batch else {}).items():
        path = f"{SECTION}.min_nodes.{name}"
        pool = subject.settings.pools.get(name)
        if batch and name not in batch.pools:
            yield Problem(
                path,
                count,
                f"'{SECTION}.pools' does not list the pool '{shown(name)}'{guess(name, batch.pools)}",
                f"it lists {listed(batch.pools, 'and')}",
            )
        elif pool and not 0 <= count <= pool.nodes:
            yield Problem(
                path, count, f"{count} nodes are not 0 to {pool.nodes}, which the pool '{name}' has"
            )


@error("batch-share")
def _shares(subject: Subject) -> Iterator[Problem]:
    """Batch refuses a policy with ill-formed or overlapping shares, or weights out of bounds (botocore: batch)."""
    fair = subject.settings.batch.fair_share if subject.settings.batch else None
    if fair is None:
        return
    base = f"{SECTION}.fair_share.weights"
    for name, weight in fair.weights.items():
        if not _SHARE.fullmatch(name):
            yield Problem(
                f"{base}.{name}",
                name,
                f"'{shown(name)}' is not the name of a share: 1 to 255 letters and digits, optionally followed by '*'",
                "rename it",
            )
        if not _MIN_WEIGHT <= weight <= _MAX_WEIGHT:
            yield Problem(
                f"{base}.{name}", weight, f"the weight {weight:g} is not {_MIN_WEIGHT} to {_MAX_WEIGHT}"
            )
    default = next(iter(fair.weights))
    if default.endswith("*"):
        yield Problem(
            f"{base}.{default}",
            default,
            f"the first share '{shown(default)}' is the default of jobs, whose name cannot end with '*'",
            "list a share without '*' first",
        )
    for one, other in combinations(fair.weights, 2):
        wide, narrow = (one, other) if one.endswith("*") else (other, one)
        if wide.endswith("*") and narrow.startswith(wide[:-1]):
            yield Problem(
                f"{base}.{narrow}",
                narrow,
                f"the shares '{shown(wide)}' and '{shown(narrow)}' overlap, which Batch refuses",
                "keep one of them",
            )


@error("batch-priority")
def _priorities(subject: Subject) -> Iterator[Problem]:
    """A priority belongs to the jobs of an existing workload."""
    fair = subject.settings.batch.fair_share if subject.settings.batch else None
    own = [own_name(entry) for entry in subject.settings.workloads if entry.path]
    known = [*registry.names(), *filter(None, own)]
    for name in fair.priorities if fair else ():
        if name not in known:
            yield Problem(
                f"{SECTION}.fair_share.priorities.{name}",
                name,
                f"there is no workload '{shown(name)}'{guess(name, known)}",
                f"workloads: {listed(known, 'and')}",
            )


@error("batch-secret")
def _secrets(subject: Subject) -> Iterator[Problem]:
    """Batch reads a secret by its ARN when a job starts; no file and no message contains its value."""
    for purpose, arn in subject.settings.batch.secrets.items() if subject.settings.batch else ():
        problem = secret_problem(f"{SECTION}.secrets.{purpose}", arn, keys=True)
        if problem:
            yield problem


@error("batch-secret-missing", depends_on=("batch.secrets",))
def _secrets_missing(subject: Subject) -> Iterator[Problem]:
    """A job whose program needs a secret that the configuration does not name ends when it starts."""
    batch = subject.settings.batch
    for index, entry in enumerate(subject.settings.workloads if batch else ()):
        if SECTION not in entry.clusters or not (own_name(entry) or entry.workload in registry.names()):
            continue
        for secret in registry.find(entry.reference).secrets:
            if batch and secret.required and secret.name not in batch.secrets:
                yield Problem(
                    f"workloads.{index}.{'path' if entry.path else 'workload'}",
                    entry.reference,
                    f"'{entry.label}' needs the secret '{secret.name}', and '{SECTION}.secrets' does not name it",
                    f"put its ARN under '{SECTION}.secrets.{secret.name}'",
                )
