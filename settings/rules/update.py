"""Rules on an update of the deployed state: replaced, deleted and orphaned resources, and changes without a rule.

Tables hold the values that rules check, and the effect of a change of each, with its source. `update-not-compared`
reports changed values that are in no table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.addresses import default_secondary_ranges
from catalog.cluster_kinds import CLUSTERS, PARALLELCLUSTER
from settings.deployment import Settings
from settings.parser.values import listed, shown
from settings.rules.cluster_update import JUDGED as JUDGED_OF_KUBERNETES
from settings.rules.node_updates import JUDGED as JUDGED_OF_IMAGES
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import uses


def _differs(before: object, after: object) -> bool:
    return before != after


def _shrinks(before: Any, after: Any) -> bool:
    return before is not None and after is not None and after < before


_OPENZFS_STEP_PERCENT = 10
"""The minimum growth of an OpenZFS file system, in percent. Source: botocore, FSx UpdateFileSystem, StorageCapacity."""


def _shrinks_or_grows_little(before: int, after: int) -> bool:
    return before != after and 100 * after < (100 + _OPENZFS_STEP_PERCENT) * before


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the settings whose changes a rule checks.

    `path` is its key, and its changes count as judged. `read` returns it, None where there is nothing that an update
    could touch; `matters` is true for values before and after whose change has the `outcome`.
    """

    path: str
    what: str
    outcome: str
    read: Callable[[Settings], object]
    matters: Callable[[Any, Any], bool] = _differs


def _own_network(settings: Settings) -> bool:
    return settings.network.existing is None


def _vpc(settings: Settings) -> str:
    return settings.network.existing.vpc_id if settings.network.existing else "one of this deployment"


def _ranges(settings: Settings) -> tuple[str, ...] | None:
    network = settings.network
    if not _own_network(settings):
        return None
    zones = len(settings.availability_zones)
    found = network.secondary_cidrs or default_secondary_ranges(network.primary_cidr, zones)
    return tuple(str(block) for block in found)


def _subnets(settings: Settings) -> Mapping[str, str] | None:
    return settings.network.existing.private_subnets if settings.network.existing else None


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    return any(after.get(zone) != subnet for zone, subnet in before.items())


def _grown(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    """Return whether a list is more than the old one with something at its end."""
    return tuple(after[: len(before)]) != tuple(before)


def _of(kind: str, read: Callable[[Any, Settings], object]) -> Callable[[Settings], object]:
    """Return a reader of a file system that the deployment makes; of one that exists already it returns None."""

    def value(settings: Settings) -> object:
        section = getattr(settings.storage, kind)
        return None if section is None or section.existing else read(section, settings)

    return value


def _file_system(kind: str) -> Callable[[Settings], object]:
    """Return a reader of the file system that is used: its id, or a mark that the deployment makes one."""

    def value(settings: Settings) -> object:
        section = getattr(settings.storage, kind)
        if section is None:
            return None
        return section.existing.file_system_id if section.existing else "one of this deployment"

    return value


def _zone(section: Any, settings: Settings) -> str:
    return str(section.availability_zone or settings.availability_zones[0])


def _provisioning(settings: Settings) -> bool | None:
    """Return whether a Slurm cluster of HyperPod is provisioned continuously, None where there is none.

    Source: SageMaker guide, "Continuous provisioning for enhanced cluster operations with Slurm".
    """
    return settings.hyperpod.continuous_provisioning if settings.hyperpod else None


_EMPTY = "it would be replaced by an empty one, without its data"
_NETWORK = "the network and everything in it would be replaced"
_SUBNETS = "private subnets and everything in them would be replaced or deleted"

# Sources: CloudFormation's create-only properties of EC2 VPC and Subnet and of FSx FileSystem (cfn-lint's schemas);
# botocore, FSx UpdateFileSystem, has no zone, deployment type or EFA, and takes only a larger capacity.
REPLACED: tuple[Value, ...] = (
    Value("network.existing.vpc_id", "the VPC", _NETWORK, _vpc),
    Value(
        "network.primary_cidr",
        "the primary range",
        _NETWORK,
        lambda s: str(s.network.primary_cidr) if _own_network(s) else None,
    ),
    Value("network.secondary_cidrs", "the ranges of private subnets", _SUBNETS, _ranges, _grown),
    Value("network.existing.private_subnets", "the subnets in use", _SUBNETS, _subnets, _moved),
    Value(
        "availability_zones",
        "the order of zones, by which subnets get their ranges",
        _SUBNETS,
        lambda s: tuple(s.availability_zones) if _own_network(s) else None,
        _grown,
    ),
    Value(
        "storage.bucket.existing", "the data bucket", _EMPTY, lambda s: s.storage.bucket.existing or "ours"
    ),
    Value("storage.lustre.existing", "the Lustre file system", _EMPTY, _file_system("lustre")),
    Value("storage.lustre.availability_zone", "the zone of Lustre", _EMPTY, _of("lustre", _zone)),
    Value(
        "storage.lustre.efa",
        "whether clients reach Lustre over EFA",
        _EMPTY,
        _of("lustre", lambda lustre, _: lustre.efa),
    ),
    Value("storage.openzfs.existing", "the OpenZFS file system", _EMPTY, _file_system("openzfs")),
    Value("storage.openzfs.availability_zone", "the zone of OpenZFS", _EMPTY, _of("openzfs", _zone)),
    Value(
        "storage.openzfs.deployment",
        "the deployment type of OpenZFS",
        _EMPTY,
        _of("openzfs", lambda openzfs, _: openzfs.deployment),
    ),
)
"""Values that CloudFormation changes by a replacement."""

REFUSED: tuple[Value, ...] = (
    Value(
        "storage.lustre.capacity_gib",
        "the capacity of Lustre",
        "FSx cannot shrink a file system",
        _of("lustre", lambda lustre, _: lustre.capacity_gib),
        _shrinks,
    ),
    Value(
        "storage.openzfs.capacity_gib",
        "the capacity of OpenZFS",
        f"FSx cannot shrink a file system, and grows OpenZFS only by {_OPENZFS_STEP_PERCENT} % or more",
        _of("openzfs", lambda openzfs, _: openzfs.capacity_gib),
        _shrinks_or_grows_little,
    ),
    Value(
        "hyperpod.continuous_provisioning",
        "continuous provisioning of the Slurm cluster",
        "an existing cluster cannot be migrated: destroy HyperPodStack, then deploy",
        _provisioning,
    ),
)
"""Values that a service refuses to change: the deployment would fail and be rolled back."""

IN_PLACE = (
    "acknowledge",
    "images",
    "notifications",
    "storage.bucket.noncurrent_days",
    "storage.lustre.throughput_mbps_per_tib",
    "storage.lustre.backup_days",
    "storage.openzfs.throughput_mbps",
    "storage.openzfs.backup_days",
)
"""Keys that are changed without replacing anything (botocore: FSx UpdateFileSystem; a pipeline has no nodes)."""

JUDGED_ELSEWHERE = ("name", "region", "parallelcluster")
"""Keys that other rules cover, here, in `settings.rules.cluster_update` and in `settings.rules.node_updates`."""

NOT_COMPARED = "update-not-compared"
"""The rule that reports changes without a rule of their own."""

STACK_SECTIONS = (*CLUSTERS, "accounting", "directory", "observability", "images")
"""Sections that make a stack each."""


def _before(subject: Subject) -> Settings | None:
    return subject.deployed.settings if subject.deployed else None


def _changes(subject: Subject, values: tuple[Value, ...]) -> Iterator[tuple[Value, object, object]]:
    before = _before(subject)
    for value in values if before else ():
        assert before
        old, new = value.read(before), value.read(subject.settings)
        if old is not None and new is not None and value.matters(old, new):
            yield value, old, new


def _step(old: object, new: object) -> str:
    return f"from '{_text(old)}' to '{_text(new)}'"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return shown(", ".join(str(member) for member in value.values()))
    return shown(", ".join(str(member) for member in value) if isinstance(value, tuple) else value)


@error("deployment-moved", too_strict=True, compares=True)
def _other_deployment(subject: Subject) -> Iterator[Problem]:
    """Another name or region makes new stacks, empty ones; the old ones stay and cost money until they are destroyed.

    Too strict for who wants a second deployment.
    """
    before = _before(subject)
    for key in ("name", "region") if before else ():
        old, new = getattr(before, key), getattr(subject.settings, key)
        if old != new:
            yield Problem(
                key,
                new,
                f"the deployment's {key} changes {_step(old, new)}: everything would be created again, and the "
                "stacks of "
                f"'{shown(old)}' would stay",
                f"undo the change, or acknowledge 'deployment-moved' and destroy the stacks of '{shown(old)}' yourself",
            )


@error("update-replaces", too_strict=True, compares=True)
def _replaced(subject: Subject) -> Iterator[Problem]:
    """CloudFormation changes some values by replacing the resource, and the content of the old one is lost.

    Too strict for who has saved the data, or has none.
    """
    for value, old, new in _changes(subject, REPLACED):
        yield Problem(
            value.path,
            _text(new),
            f"{value.what} changes {_step(old, new)}: {value.outcome}",
            "undo the change; or save the data, destroy the stacks that use it and acknowledge 'update-replaces'",
        )


@error("update-refused", compares=True)
def _refused(subject: Subject) -> Iterator[Problem]:
    """Some values a service changes in one direction only, or never: the deployment would be rolled back."""
    for value, old, new in _changes(subject, REFUSED):
        message = f"{value.what} changes {_step(old, new)}: {value.outcome}"
        yield Problem(
            value.path, new, message, f"keep '{_text(old)}', or create a deployment with another name"
        )


@error("update-deletes", too_strict=True, compares=True)
def _deleted(subject: Subject) -> Iterator[Problem]:
    """A file system whose section goes is deleted with its data, or left without owner where `retention` is durable.

    Too strict for who has saved the data.
    """
    before = _before(subject)
    for kind, what in (("lustre", "Lustre"), ("openzfs", "OpenZFS")) if before else ():
        old = getattr(before.storage, kind) if before else None
        if old and not old.existing and getattr(subject.settings.storage, kind) is None:
            outcome = "keep it without a stack" if before and before.retention == "durable" else "delete it"
            yield Problem(
                f"storage.{kind}",
                "",
                f"the section of {what} is removed: the deployment would {outcome}",
                "restore it; or save the data and acknowledge 'update-deletes'",
            )


@warning("stack-left", compares=True)
def _left(subject: Subject) -> Iterator[Problem]:
    """`cdk deploy` deletes no stack whose section is gone: it stays, and its nodes cost money."""
    before = _before(subject)
    for section in STACK_SECTIONS if before else ():
        # A section that is a mapping of names is empty where there is none.
        if getattr(before, section) and not getattr(subject.settings, section):
            yield Problem(
                section,
                "",
                f"the section '{section}' is removed, and 'cdk deploy' does not delete its stack",
                "run 'cdk destroy' for its stack with the configuration that has the section, then remove the section"
                if section in CLUSTERS
                # Clusters use it: with the configuration that has it, 'cdk destroy' would delete them too.
                else "deploy the clusters without it, then run 'cdk destroy --exclusively' for its stack with the "
                "configuration that has the section; without this option it deletes the clusters, too",
            )


@warning(NOT_COMPARED, compares=True)
def _not_compared(subject: Subject) -> Iterator[Problem]:
    """No rule covers whether an update replaces these resources: check before you deploy."""
    before = _before(subject)
    if before is None:
        return
    judged = (
        *IN_PLACE,
        *JUDGED_ELSEWHERE,
        *JUDGED_OF_KUBERNETES,
        *JUDGED_OF_IMAGES,
        *(value.path for value in (*REPLACED, *REFUSED)),
        *_parallelcluster_pools(before, subject.settings),
        *_come_or_gone(before, subject.settings),
    )
    sections: dict[str, list[str]] = defaultdict(list)
    for keys in _different(before.model_dump(mode="json"), subject.settings.model_dump(mode="json"), ()):
        path = ".".join(keys)
        if any(path == known or path.startswith(f"{known}.") for known in judged):
            continue
        section = ".".join(keys[:2]) if keys[0] in ("pools", "storage", "network") else keys[0]
        sections[section].append(path.removeprefix(section).lstrip(".") or "the whole section")
    for section, keys_ in sections.items():
        yield Problem(
            section,
            ", ".join(keys_),
            f"'{shown(section)}' differs from the deployed state ({listed(keys_, 'and')}), and no rule covers "
            "the effect "
            "of this change",
            "check 'npx cdk diff' before you deploy, then acknowledge this with the result",
        )


def _come_or_gone(before: Settings, after: Settings) -> Iterator[str]:
    """Yield the sections that make a stack or a file system and are on one side only, where that is judged.

    One that goes has a rule above. A cluster that comes is a new stack, which replaces nothing.
    """
    for section in STACK_SECTIONS:
        old, new = getattr(before, section) or None, getattr(after, section) or None
        if (old is not None and new is None) or (old is None and new is not None and section in CLUSTERS):
            yield section
    for kind in ("lustre", "openzfs"):
        if getattr(before.storage, kind) and getattr(after.storage, kind) is None:
            yield f"storage.{kind}"
    for path in ("network.existing", "storage.lustre.existing", "storage.openzfs.existing"):
        if (_value(before, path) is None) != (_value(after, path) is None):
            yield path


def _value(settings: Settings, path: str) -> object:
    value: Any = settings
    for key in path.split("."):
        value = getattr(value, key, None)
    return value


def _parallelcluster_pools(before: Settings, after: Settings) -> list[str]:
    """Return the paths of pools that only a ParallelCluster uses, before and after: its own rules compare them."""
    users: dict[str, set[str]] = defaultdict(set)
    for settings in (before, after):
        for use in uses(settings):
            users[use.name].add(use.cluster)
    return [f"pools.{name}" for name, clusters in users.items() if clusters == {PARALLELCLUSTER.name}]


def _different(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of each value that differs; lists and sections that one side lacks are compared as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from _different(before.get(key), after.get(key), (*path, str(key)))
    elif before != after:
        yield path
