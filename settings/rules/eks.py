"""Rules on an EKS cluster: its version, zones, endpoint and who may use it; its nodes; its queues."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from catalog.cluster_kinds import EKS, HYPERPOD_EKS, KUBERNETES
from catalog.eks import (
    ENDING,
    GROUP_NODES_QUOTA,
    GROUPS_QUOTA,
    KUBERNETES_VERSIONS,
    MIN_ZONES,
    STANDARD_SUPPORT_ENDS,
)
from catalog.hyperpod_eks import KUBERNETES_VERSIONS as HYPERPOD_VERSIONS
from catalog.versions import ADD_ONS, UNPINNED_ADD_ONS
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import in_images, kubernetes, uses
from settings.sections.eks import AccessSettings, EksSettings, EndpointSettings
from settings.sections.hyperpod_eks import HyperPodEksSettings

_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[\w+=,.@/-]{1,576}", re.ASCII)
_ASSUMED = re.compile(r"arn:aws[a-z-]*:sts::[0-9]{12}:assumed-role/.*", re.ASCII)
# Kubernetes, "Object names and IDs": a label as RFC 1123 has it.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ANYWHERE = IPv4Network("0.0.0.0/0")
# Addresses that the internet does not route: RFC 1918, and RFC 6598's shared ones.
_UNROUTED = tuple(
    IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


@error("eks-version", too_strict=True)
def _version(subject: Subject) -> Iterator[Problem]:
    """EKS makes clusters of the Kubernetes versions that it supports.

    Source: catalog.eks. Too strict where EKS has added a version since.
    """
    for cluster, section in kubernetes(subject.settings):
        version = section.kubernetes_version
        if version not in KUBERNETES_VERSIONS:
            yield Problem(
                f"{cluster}.kubernetes_version",
                version,
                f"EKS takes no new cluster of the Kubernetes version '{shown(version)}'"
                f"{guess(version, KUBERNETES_VERSIONS)}",
                f"versions: {listed(KUBERNETES_VERSIONS)}; 'aws eks describe-cluster-versions' lists those of today",
            )


@warning("eks-version-ending")
def _version_ending(subject: Subject) -> Iterator[Problem]:
    """After standard support a version costs extra for a year, and then EKS upgrades the control plane."""
    for cluster, section in kubernetes(subject.settings):
        version = section.kubernetes_version
        ends = STANDARD_SUPPORT_ENDS.get(version, "")
        later = [one for one, end in STANDARD_SUPPORT_ENDS.items() if end > ENDING]
        if cluster == HYPERPOD_EKS.name:
            # A version that HyperPod does not support is no alternative, and its newest version no mistake.
            later = [one for one in later if one in HYPERPOD_VERSIONS]
        # Dates of ISO 8601 sort as text; 'unknown' comes after every one of them.
        if ends and ends <= ENDING and (later or version != HYPERPOD_VERSIONS[-1]):
            yield Problem(
                f"{cluster}.kubernetes_version",
                version,
                f"standard support of Kubernetes '{version}' ends on {ends}; from then on EKS charges "
                "for extended support",
                f"take {listed(later or HYPERPOD_VERSIONS[-1:])}",
            )


@error("eks-add-on-version", too_strict=True)
def _add_on_version(subject: Subject) -> Iterator[Problem]:
    """A version is set for an add-on that the stack installs itself; one of `add_ons` has its version there.

    Source: catalog.versions, the lock's list.
    """
    names = sorted(
        {name for table in (ADD_ONS, UNPINNED_ADD_ONS) for pins in table.values() for name in pins}
    )
    for cluster, section in kubernetes(subject.settings):
        own = {}
        if isinstance(section, EksSettings):
            own = section.software.add_ons
        elif isinstance(section, HyperPodEksSettings):
            own = section.add_ons
        for name in section.add_on_versions:
            given = own.get(name)
            if given is not None and given.version:
                yield Problem(
                    f"{cluster}.add_on_versions.{name}",
                    name,
                    f"'{shown(name)}' has the version '{shown(given.version)}' in 'add_ons' too",
                    "remove one of the two",
                )
            elif name not in names and given is None:
                yield Problem(
                    f"{cluster}.add_on_versions.{name}",
                    name,
                    f"the stack installs no add-on '{shown(name)}'{guess(name, names)}",
                    f"add-ons: {listed(names)}; install others by 'add_ons'",
                )


@error("eks-zones", depends_on=("availability_zones",))
def _zones(subject: Subject) -> Iterator[Problem]:
    """A control plane has subnets in two zones at least (EKS User Guide, "VPC and subnet requirements").

    Pools stay in one each.
    """
    zones = subject.settings.availability_zones
    if any(kubernetes(subject.settings)) and len(set(zones)) < MIN_ZONES:
        yield Problem(
            "availability_zones",
            len(zones),
            f"an EKS control plane needs subnets in {MIN_ZONES} zones, and the deployment has {len(zones)}",
            "add a zone; pools stay where they are",
        )


@error("eks-endpoint-open")
def _endpoint_open(subject: Subject) -> Iterator[Problem]:
    """Without ranges, or with all addresses among them, the whole internet reaches the Kubernetes API."""
    for cluster, section in kubernetes(subject.settings):
        if section.endpoint.public:
            yield from _opened(f"{cluster}.endpoint", section.endpoint)


def _opened(path: str, endpoint: EndpointSettings) -> Iterator[Problem]:
    if not endpoint.allowed_addresses:
        yield Problem(
            f"{path}.public",
            True,
            "the public endpoint has no 'allowed_addresses', and EKS would open it to everybody",
            "name the ranges that may reach it, or set 'public: false'",
        )
    for index, block in enumerate(endpoint.allowed_addresses):
        if block == _ANYWHERE:
            yield Problem(
                f"{path}.allowed_addresses.{index}",
                block,
                f"'{block}' opens the Kubernetes API to everybody",
                "name the ranges of your own network",
            )


@error("eks-endpoint-private")
def _endpoint_private(subject: Subject) -> Iterator[Problem]:
    """The public endpoint sees public addresses; EKS refuses ranges that the internet does not route."""
    for cluster, section in kubernetes(subject.settings):
        for index, block in enumerate(section.endpoint.allowed_addresses):
            if any(block.subnet_of(unrouted) for unrouted in _UNROUTED):
                yield Problem(
                    f"{cluster}.endpoint.allowed_addresses.{index}",
                    block,
                    f"the range '{block}' is private, and the public endpoint receives no request from it",
                    "name the public addresses of your network; inside the VPC the API is always reachable",
                )


@warning("eks-endpoint-unused")
def _endpoint_unused(subject: Subject) -> Iterator[Problem]:
    """Ranges limit the public endpoint; without one they open nothing."""
    for cluster, section in kubernetes(subject.settings):
        if section.endpoint.allowed_addresses and not section.endpoint.public:
            yield Problem(
                f"{cluster}.endpoint.allowed_addresses",
                len(section.endpoint.allowed_addresses),
                "there is no public endpoint, so these ranges have no effect",
                "set 'public: true', or remove them",
            )


@error("eks-access-principal")
def _principals(subject: Subject) -> Iterator[Problem]:
    """An access entry is for a role or a user of IAM, one entry each (EKS User Guide, "access entries")."""
    for cluster, section in kubernetes(subject.settings):
        yield from _admitted(f"{cluster}.access", section.access)


def _admitted(path: str, admitted: Sequence[AccessSettings]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, access in enumerate(admitted):
        arn = access.principal_arn
        if not _PRINCIPAL.fullmatch(arn):
            session = _ASSUMED.fullmatch(arn)
            yield Problem(
                f"{path}.{index}.principal_arn",
                arn,
                f"'{shown(arn)}' is not the ARN of an IAM role or user",
                "take the role that the session is of, 'arn:aws:iam::ACCOUNT:role/NAME'"
                if session
                else "write 'arn:aws:iam::ACCOUNT:role/NAME'",
            )
        elif arn in seen:
            yield Problem(
                f"{path}.{index}.principal_arn",
                arn,
                f"'{shown(arn)}' has access already, at '{path}.{seen[arn]}'",
                "give it one policy",
            )
        seen.setdefault(arn, index)


@warning("eks-access-none")
def _access_none(subject: Subject) -> Iterator[Problem]:
    """Nobody has access by having made the cluster: CloudFormation made it."""
    for cluster, section in kubernetes(subject.settings):
        if not section.access:
            yield Problem(
                f"{cluster}.access",
                0,
                "nobody has access to the Kubernetes API",
                f"name roles under '{cluster}.access', or add access entries by hand once the cluster exists",
            )


@error("eks-namespace")
def _namespace(subject: Subject) -> Iterator[Problem]:
    """A namespace is a DNS label, and names that begin with `kube-` are Kubernetes' own."""
    for cluster, section in kubernetes(subject.settings):
        named = [(f"{cluster}.namespace", section.namespace)]
        for index, access in enumerate(section.access):
            named += [
                (f"{cluster}.access.{index}.namespaces.{number}", name)
                for number, name in enumerate(access.namespaces)
            ]
        for path, name in named:
            if not _NAMESPACE.fullmatch(name):
                yield Problem(
                    path,
                    name,
                    f"the namespace '{shown(name)}' is not 1 to 63 lower case letters, digits and dashes that "
                    "begin and end with a letter or digit",
                )
        if section.namespace.startswith("kube-"):
            yield Problem(
                f"{cluster}.namespace",
                section.namespace,
                f"'{section.namespace}' is for Kubernetes itself",
                "choose another",
            )


SYSTEM = "system"
"""The name of the group of system nodes, which other groups have from their pool."""


@error("eks-scaling", depends_on=("eks.pools", "pools"))
def _scaling(subject: Subject) -> Iterator[Problem]:
    """A node group has between its minimum and its maximum of nodes, and the maximum is the pool's number."""
    eks = subject.settings.eks
    for name, scaling in eks.scaling.items() if eks else ():
        path = f"eks.scaling.{name}"
        pool = subject.settings.pools.get(name)
        if eks and name not in eks.pools:
            yield Problem(
                path,
                name,
                f"'eks.pools' does not list the pool '{shown(name)}'{guess(name, eks.pools)}",
                f"it lists {listed(eks.pools, 'and')}",
            )
        elif pool:
            desired = pool.nodes if scaling.desired is None else scaling.desired
            if desired > pool.nodes:
                yield Problem(
                    f"{path}.desired",
                    desired,
                    f"pool '{name}' has {pool.nodes} nodes, and {desired} are desired",
                    f"raise 'pools.{name}.nodes', or take fewer",
                )
            if scaling.minimum > desired:
                yield Problem(
                    f"{path}.minimum",
                    scaling.minimum,
                    f"pool '{name}': the minimum of {scaling.minimum} nodes is above the {desired} desired "
                    "nodes",
                    "lower 'minimum'",
                )


@error("eks-pool-name")
def _pool_name(subject: Subject) -> Iterator[Problem]:
    """The group of system nodes is called 'system', and the other groups have their pool's name."""
    for use in uses(subject.settings):
        if use.cluster in KUBERNETES and use.name == SYSTEM:
            yield Problem(
                use.path, use.name, f"a pool of an EKS cluster cannot be named '{SYSTEM}'", "rename the pool"
            )


@warning("eks-type-shared", depends_on=("eks.pools", "pools"))
def _type_shared(subject: Subject) -> Iterator[Problem]:
    """A run selects nodes by instance type, so it may be scheduled on another pool's nodes of the same type."""
    eks = subject.settings.eks
    if eks is None:
        return
    holders: dict[str, str] = {eks.system.instance_type: "the system nodes"}
    for use in uses(subject.settings):
        if use.cluster != EKS.name or use.pool is None:
            continue
        kind = use.pool.instance_type
        if holders.get(kind, f"pool '{use.name}'") != f"pool '{use.name}'":
            yield Problem(
                use.path,
                use.name,
                f"pool '{use.name}' and {holders[kind]} are of one instance type, '{kind}': runs of the pool may "
                "be scheduled on either",
                "choose different types, or keep pools of one type on clusters of their own",
            )
        holders.setdefault(kind, f"pool '{use.name}'")


@warning("eks-quota", depends_on=("eks.pools", "pools"))
def _quotas(subject: Subject) -> Iterator[Problem]:
    """EKS's quotas (User Guide, "Service quotas"): 30 node groups per cluster, 450 nodes per group; AWS raises both."""
    eks = subject.settings.eks
    groups = len(eks.pools) + 1 if eks else 0
    if groups > GROUPS_QUOTA:
        yield Problem(
            "eks.pools",
            groups - 1,
            f"{groups} node groups (pools, system nodes) are more than EKS allows at first, {GROUPS_QUOTA}",
            "ask for a higher quota before deploying, or use fewer, larger pools",
        )
    for use in uses(subject.settings):
        if use.cluster == EKS.name and use.pool and use.pool.nodes > GROUP_NODES_QUOTA:
            yield Problem(
                f"pools.{use.name}.nodes",
                use.pool.nodes,
                f"pool '{use.name}' has {use.pool.nodes} nodes, more than EKS allows a node group at first, "
                f"{GROUP_NODES_QUOTA}",
                "ask for a higher quota before deploying, or divide the pool",
            )


@error("eks-shared-folder", depends_on=("storage",))
def _shared_folder(subject: Subject) -> Iterator[Problem]:
    """A run keeps checkpoints and records in a shared file system, which pods claim: the Lustre one."""
    if subject.settings.storage.lustre:
        return
    for shipped in in_images(subject.settings):
        if shipped.cluster in KUBERNETES:
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shown(shipped.entry.label)}' keeps its runs in a shared file system, and there is none",
                "add 'storage.lustre'",
            )


@error("reservation-zone", depends_on=("availability_zones",))
def _reservation_zone(subject: Subject) -> Iterator[Problem]:
    """A capacity reservation, and a capacity block with it, is in one zone (EC2 User Guide, "capacity blocks")."""
    settings = subject.settings
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for name, pool in settings.pools.items():
        reservation = getattr(pool.capacity, "reservation_id", None)
        if reservation:
            zone = pool.availability_zone or settings.availability_zones[0]
            places[reservation].setdefault(zone, name)
            if len(places[reservation]) > 1 and places[reservation].get(zone) == name:
                others = [other for other in places[reservation] if other != zone]
                yield Problem(
                    f"pools.{name}" + (".availability_zone" if pool.availability_zone else ""),
                    zone,
                    f"pool '{name}' takes '{shown(reservation)}' in the zone '{zone}', and pool "
                    f"'{places[reservation][others[0]]}' in '{others[0]}': it is in one of them",
                    "put the pools into the reservation's zone",
                )


_SOFTWARE = "eks.software"
# Kubernetes, "Object names and IDs": what Kueue wants of a queue's name is a DNS label here, fit for a label's value.
_QUEUE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@error("eks-queue-name")
def _queue_name(subject: Subject) -> Iterator[Problem]:
    """A queue's name is a label of the jobs that ask for it."""
    eks = subject.settings.eks
    for name in eks.software.queues if eks else ():
        if not _QUEUE.fullmatch(name):
            yield Problem(
                f"{_SOFTWARE}.queues.{name}",
                name,
                f"the queue's name '{shown(name)}' is not 1 to 63 lower case letters, digits and dashes that begin and "
                "end with a letter or digit",
            )


@error("eks-queue-pool", depends_on=("eks.pools",))
def _queue_pool(subject: Subject) -> Iterator[Problem]:
    """A queue has shares of the cluster's own pools."""
    eks = subject.settings.eks
    for name, queue in eks.software.queues.items() if eks else ():
        for pool in queue.nodes:
            if eks and pool not in eks.pools:
                yield Problem(
                    f"{_SOFTWARE}.queues.{name}.nodes.{pool}",
                    pool,
                    f"queue '{shown(name)}': 'eks.pools' does not list the pool '{shown(pool)}'"
                    f"{guess(pool, eks.pools)}",
                    f"it lists {listed(eks.pools, 'and')}",
                )


@error("eks-queue-share", depends_on=("eks.pools", "pools"))
def _queue_share(subject: Subject) -> Iterator[Problem]:
    """The shares of a pool together are at most its nodes."""
    eks = subject.settings.eks
    if eks is None:
        return
    queues = eks.software.queues
    total: Counter[str] = Counter()
    for queue in queues.values():
        total.update({pool: count for pool, count in queue.nodes.items() if pool in eks.pools})
    for name, count in total.items():
        pool = subject.settings.pools.get(name)
        if pool and count > pool.nodes:
            yield Problem(
                f"{_SOFTWARE}.queues",
                count,
                f"queues have {count} nodes of pool '{name}', and it has {pool.nodes}",
                "lower shares, and let queues borrow what is idle",
            )
    for name, queue in queues.items():
        if not any(queue.nodes.values()) and (not queue.borrow or not any(total.values())):
            yield Problem(
                f"{_SOFTWARE}.queues.{name}.nodes",
                0,
                f"queue '{shown(name)}' has no nodes and no queue to borrow from: its jobs would never start",
                "give it a share, or let it borrow from a queue that has one",
            )


@warning("eks-queue-missing", depends_on=("eks.pools", "pools"))
def _queue_missing(subject: Subject) -> Iterator[Problem]:
    """With Kueue every job is queued, so that a pool that no queue has a share of is never used."""
    eks = subject.settings.eks
    if eks is None or not eks.software.queues:
        return
    shared = {pool for queue in eks.software.queues.values() for pool, count in queue.nodes.items() if count}
    for index, name in enumerate(eks.pools):
        if name not in shared:
            yield Problem(
                f"eks.pools.{index}",
                name,
                f"no queue has a share of pool '{shown(name)}', and jobs for it would never start",
                f"give a queue nodes of it under '{_SOFTWARE}.queues'",
            )
