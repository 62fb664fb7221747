"""Rules on the network: address ranges, addresses for every node, existing VPCs, settings without effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Network
from itertools import combinations

from catalog.addresses import PRIVATE_RANGES, RESERVED_ADDRESSES, plan, secondary_ranges_needed
from catalog.cluster_kinds import CLUSTERS, KINDS
from settings.deployment import Settings
from settings.parser.values import shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, node_setups, uses

# VPC user guide, "VPC CIDR blocks": a block is a /16 to a /28, and some services use 172.17.0.0/16.
MAX_PREFIX, MIN_PREFIX = 16, 28
_DOCKER = IPv4Network("172.17.0.0/16")
_RESERVED = IPv4Network("198.19.0.0/16")


def _ranges(settings: Settings) -> list[tuple[str, IPv4Network]]:
    """Return the ranges of a network that is made, each with its path."""
    network = settings.network
    if network.existing:
        return []
    secondary = [
        (f"network.secondary_cidrs.{index}", block) for index, block in enumerate(network.secondary_cidrs)
    ]
    return [("network.primary_cidr", network.primary_cidr), *secondary]


@error("network-cidr-size")
def _size(subject: Subject) -> Iterator[Problem]:
    """A VPC's range and a subnet hold between /16 and /28 addresses, and ranges are divided into subnets."""
    for path, block in _ranges(subject.settings):
        # The primary range is divided into eight public subnets, a secondary one into two private subnets.
        smallest = MIN_PREFIX - (3 if path == "network.primary_cidr" else 1)
        if not MAX_PREFIX <= block.prefixlen <= smallest:
            yield Problem(
                path,
                block,
                f"the range '{block}' is a /{block.prefixlen}, and only a /{MAX_PREFIX} to a /{smallest} "
                "can be divided into subnets that AWS takes",
            )


@error("network-cidr-overlap")
def _overlap(subject: Subject) -> Iterator[Problem]:
    """Ranges of one VPC must not share an address."""
    for (_, one), (path, other) in combinations(_ranges(subject.settings), 2):
        if one.overlaps(other):
            yield Problem(
                path, other, f"the range '{other}' overlaps '{one}'", "choose ranges that do not overlap"
            )


@error("network-secondary-count", depends_on=("availability_zones", "network.secondary_cidrs"))
def _count(subject: Subject) -> Iterator[Problem]:
    """Two zones share a secondary range, half of it each."""
    network = subject.settings.network
    zones = len(subject.settings.availability_zones)
    needed = secondary_ranges_needed(zones)
    given = len(network.secondary_cidrs)
    if not network.existing and given and given < needed:
        yield Problem(
            "network.secondary_cidrs",
            given,
            f"{zones} zones take {needed} secondary ranges, two zones each; {given} given",
            "add ranges, or remove 'secondary_cidrs' to have them chosen",
        )


@warning("network-secondary-unused", depends_on=("availability_zones",))
def _unused(subject: Subject) -> Iterator[Problem]:
    """Ranges beyond those that the zones take are never attached to the VPC."""
    network = subject.settings.network
    needed = secondary_ranges_needed(len(subject.settings.availability_zones))
    for index, block in enumerate(network.secondary_cidrs):
        if not network.existing and index >= needed:
            message = f"the range '{block}' is not used: the zones take {needed}"
            yield Problem(f"network.secondary_cidrs.{index}", block, message, "remove it")


@error("network-cidr-family", too_strict=True)
def _family(subject: Subject) -> Iterator[Problem]:
    """EC2 refuses to add ranges of another private family than the primary range's, and 198.19.0.0/16.

    Source: VPC user guide, "IPv4 CIDR block association restrictions". Too strict where AWS has relaxed them.
    """
    blocks = _ranges(subject.settings)
    if not blocks:
        return
    primary = blocks[0][1]
    own = next((family for family in PRIVATE_RANGES if primary.subnet_of(family)), None)
    for path, block in blocks[1:]:
        family = next((family for family in PRIVATE_RANGES if block.overlaps(family)), None)
        if block.overlaps(_RESERVED):
            yield Problem(path, block, f"AWS keeps '{_RESERVED}' for itself, and '{block}' is in it")
        elif own and family and family != own:
            yield Problem(
                path,
                block,
                f"the range '{block}' is of '{family}', and a VPC of '{primary}' takes none of these",
                f"choose ranges of '{own}', or of '100.64.0.0/10'",
            )


@warning("network-cidr-docker")
def _docker(subject: Subject) -> Iterator[Problem]:
    """Docker and services such as SageMaker use 172.17.0.0/16 too (VPC user guide, "VPC CIDR blocks")."""
    for path, block in _ranges(subject.settings):
        if block.overlaps(_DOCKER):
            yield Problem(
                path, block, f"containers cannot reach addresses of '{_DOCKER}', which Docker uses itself"
            )


@error("network-existing-zones", depends_on=("availability_zones",))
def _existing_zones(subject: Subject) -> Iterator[Problem]:
    """Every zone of the deployment needs a subnet for its nodes."""
    existing = subject.settings.network.existing
    for zone in subject.settings.availability_zones if existing else ():
        if existing and zone not in existing.private_subnets:
            yield Problem(
                "network.existing.private_subnets",
                zone,
                f"the zone '{shown(zone)}' has no private subnet",
                "add its subnet, or take the zone out of 'availability_zones'",
            )


@warning("network-existing-zones-unused", depends_on=("availability_zones",))
def _existing_unused(subject: Subject) -> Iterator[Problem]:
    """A subnet of a zone that is not among the deployment's is never used."""
    existing = subject.settings.network.existing
    for zone, subnet in existing.private_subnets.items() if existing else ():
        if zone not in subject.settings.availability_zones:
            yield Problem(
                f"network.existing.private_subnets.{zone}",
                subnet,
                f"the zone '{shown(zone)}' is not among 'availability_zones', so its subnet is not used",
                f"add '{shown(zone)}' to 'availability_zones', or remove it",
            )


@error("network-existing-subnet")
def _existing_subnet(subject: Subject) -> Iterator[Problem]:
    """A subnet is in one zone, so two zones cannot share one."""
    existing = subject.settings.network.existing
    owners: dict[str, str] = {}
    for zone, subnet in existing.private_subnets.items() if existing else ():
        if subnet in owners:
            yield Problem(
                f"network.existing.private_subnets.{zone}",
                subnet,
                f"the subnet '{shown(subnet)}' is given for the zones '{shown(owners[subnet])}' and "
                f"'{shown(zone)}', and a subnet is in one",
                "'aws ec2 describe-subnets' prints the zone of each",
            )
        owners.setdefault(subnet, zone)


@warning("network-existing-lustre", depends_on=("storage.lustre",))
def _existing_lustre(subject: Subject) -> Iterator[Problem]:
    """Lustre's servers call their clients (FSx for Lustre user guide, "File system access control with Amazon VPC").

    A group of one's own is taken as it is, so the rules that let the servers in are not added to it. Over EFA the
    servers are members of that group themselves.
    """
    existing, lustre = subject.settings.network.existing, subject.settings.storage.lustre
    if not existing or not existing.efa_security_group_id or existing.file_system_security_group_id:
        return
    if lustre and not lustre.existing and not lustre.efa:
        group = existing.efa_security_group_id
        yield Problem(
            "network.existing.efa_security_group_id",
            group,
            f"the group '{shown(group)}' is taken as it is, so no rule lets Lustre's servers reach the nodes in it",
            "after NetworkStack is deployed, allow TCP 988 and 1018-1023 from the group that the parameter "
            "/trainforge/NAME/network names as file_system_security_group_id; or give "
            "'file_system_security_group_id' too",
        )


@warning("network-existing-ignored")
def _ignored(subject: Subject) -> Iterator[Problem]:
    """Some settings leave others without effect, which then mislead readers.

    An existing VPC keeps its ranges, NAT gateways and flow logs; an isolated network has no NAT gateway; settings of
    flow logs need flow logs.
    """
    network = subject.settings.network
    if network.isolated and not network.existing and "nat" in network.model_fields_set:
        yield Problem(
            "network.nat",
            network.nat,
            "'nat' has no effect on an isolated network, which has no NAT gateway",
            "remove 'nat', or 'isolated'",
        )
    if network.flow_logs == "none":
        for name in sorted(network.model_fields_set & {"flow_log_days", "flow_log_destination"}):
            yield Problem(
                f"network.{name}",
                str(getattr(network, name)),
                f"'{name}' has no effect without flow logs",
                f"remove '{name}', or choose 'flow_logs: reject' or 'all'",
            )
    if network.existing:
        for name in sorted(network.model_fields_set - {"existing"}):
            yield Problem(
                f"network.{name}",
                str(getattr(network, name)),
                f"'{name}' has no effect on the existing VPC '{shown(network.existing.vpc_id)}'",
                "remove it",
            )


@error("isolated-network-internet", depends_on=("network.isolated",))
def _isolated(subject: Subject) -> Iterator[Problem]:
    """Nodes of an isolated network reach AWS's services by endpoints and nothing else."""
    if not _is_isolated(subject):
        return
    for cluster, node_setup in node_setups(subject.settings):
        if node_setup.packages:
            yield Problem(
                f"{cluster}.node_setup.packages",
                node_setup.packages,
                f"packages ({shown(', '.join(node_setup.packages))}) come from Ubuntu's mirrors, which an isolated "
                "network cannot reach",
                "put them into an image, or remove 'network.isolated'",
            )


@warning("isolated-network-exporter", depends_on=("network.isolated",))
def _exporter(subject: Subject) -> Iterator[Problem]:
    """Nodes download Prometheus' node exporter when they start; in an isolated network the download fails."""
    cluster = subject.settings.parallelcluster
    if _is_isolated(subject) and cluster and cluster.node_setup and cluster.node_setup.node_exporter:
        yield Problem(
            "parallelcluster.node_setup.node_exporter",
            True,
            "the node exporter comes from GitHub, which an isolated network cannot reach: every node retries the "
            "download for more than a minute and then continues without the exporter",
            "set it to false, or include the exporter in an image of your own",
        )


def _is_isolated(subject: Subject) -> bool:
    return subject.settings.network.isolated and not subject.settings.network.existing


def _demand(settings: Settings) -> dict[str, Counter[str]]:
    """Return how many addresses are needed in each zone, by what needs them."""
    demand: dict[str, Counter[str]] = {zone: Counter() for zone in settings.availability_zones}
    for use in uses(settings):
        found = facts(use.pool.instance_type) if use.pool else None
        if use.pool and found and use.pool.availability_zone in demand:
            kind = KINDS[use.cluster]
            each = kind.addresses(use.pool)
            each += settings.clusters[use.cluster].addresses_per_pool_node()
            demand[use.pool.availability_zone][f"pool '{use.name}'"] += use.pool.nodes * each
    for section in settings.clusters.values():
        for nodes in section.fixed_nodes():
            if nodes.spread:
                for counts in demand.values():
                    each_zone = -(-nodes.nodes // len(settings.availability_zones))
                    counts[nodes.what] += each_zone * nodes.addresses
            elif (zone := nodes.availability_zone or settings.availability_zones[0]) in demand:
                demand[zone][nodes.what] += nodes.nodes * nodes.addresses
    if settings.network.isolated:
        for counts in demand.values():
            counts["interface endpoints"] += len(settings.interface_endpoints)
    return demand


@error(
    "subnet-too-small",
    depends_on=("availability_zones", "network", "pools", *CLUSTERS),
)
def _too_small(subject: Subject) -> Iterator[Problem]:
    """A node takes an address for every interface that carries IP, and never starts if none is left.

    AWS keeps five addresses of each subnet. File systems take some more, which are not counted: FSx does
    not say how many.
    """
    settings = subject.settings
    network = settings.network
    if network.existing:
        return
    try:
        zones = plan(network.primary_cidr, network.secondary_cidrs, settings.availability_zones)
    except (ValueError, StopIteration, IndexError):
        # Ranges that cannot be divided have findings of their own.
        return
    demand = _demand(settings)
    for index, zone in enumerate(zones):
        counts = demand[zone.availability_zone]
        if zone.private.prefixlen <= MIN_PREFIX and counts.total() > zone.private_addresses:
            parts = ", ".join(f"{what} {count}" for what, count in counts.most_common(4) if count)
            given = bool(network.secondary_cidrs)
            yield Problem(
                f"network.secondary_cidrs.{index // 2}" if given else "network.secondary_cidrs",
                zone.private,
                f"the private subnet '{zone.private}' of zone '{zone.availability_zone}' has "
                f"{zone.private_addresses} addresses (AWS keeps {RESERVED_ADDRESSES}), and {counts.total()} "
                f"are needed: {parts}",
                "give it a larger range, take fewer nodes, or set 'interface_type: efa-only', "
                "which takes one address a node",
            )
