"""Rules on the deployment: its name and tags, its region and zones, ids of existing resources."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from catalog.cluster_kinds import HYPERPOD
from catalog.pool import Pool
from catalog.regions import cluster_regions, cluster_types, last_zone, priced_types, regions, regions_of_type
from catalog.spelling import nearest
from settings.deployment import Settings
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, hyperpod_instance_types, uses, zones
from settings.rules.storage import made_lustre

REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
"""Form of a region's name, as in us-west-2 or us-gov-east-1."""

_DEPLOYMENT = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
# botocore: sagemaker TagKey and TagValue; \w is the letters and digits of any script.
_TAG_TEXT = re.compile(r"[\w\s.:/=+\-@]*")


@error("deployment-name")
def _deployment_name(subject: Subject) -> Iterator[Problem]:
    """The name begins every stack's name, an SSM path and a session document; each must accept it."""
    name = subject.settings.name
    if not _DEPLOYMENT.fullmatch(name):
        yield Problem(
            "name",
            name,
            f"the name '{shown(name)}' is not 1 to 20 lower case letters, digits and dashes that begin "
            "with a letter and do not end with a dash",
        )


@error("region-form")
def _region(subject: Subject) -> Iterator[Problem]:
    """A misspelt region is noticed only at a deployment, when an endpoint does not resolve."""
    region = subject.settings.region
    if not REGION.fullmatch(region):
        yield Problem(
            "region",
            region,
            f"'{shown(region)}' is not the name of a region",
            "a region looks like 'us-west-2'; a letter at the end makes it a zone",
        )


@error("tag-form")
def _tags(subject: Subject) -> Iterator[Problem]:
    """AWS refuses a resource with a malformed tag, late and once for every resource.

    Keys hold 1 to 128 characters, values up to 256, of letters, digits, blanks and `_.:/=+-@`
    (botocore: sagemaker and fsx TagKey, TagValue); keys that begin with `aws:` belong to AWS, those that begin with
    `parallelcluster:` to ParallelCluster (aws-parallelcluster, schemas/common_schema.py, validate_no_reserved_tag).
    """
    reserved = ("aws:", "trainforge:", *(("parallelcluster:",) if subject.settings.parallelcluster else ()))
    for key, value in subject.settings.tags.items():
        path = f"tags.{key}"
        if not 1 <= len(key) <= 128 or not _TAG_TEXT.fullmatch(key):
            yield Problem(
                path,
                key,
                f"the tag key '{shown(key)}' is not 1 to 128 letters, digits, blanks and '_.:/=+-@'",
            )
        elif key.lower().startswith(reserved):
            owner = key.partition(":")[0].lower()
            yield Problem(path, key, f"tag keys that begin with '{owner}:' are reserved", "choose another")
        if len(value) > 256 or not _TAG_TEXT.fullmatch(value):
            yield Problem(
                path,
                value,
                f"the value of tag '{shown(key)}' is not up to 256 letters, digits, blanks and '_.:/=+-@'",
            )


@error("tag-count")
def _tag_count(subject: Subject) -> Iterator[Problem]:
    """A resource takes 50 tags (botocore: sagemaker and fsx TagList), and we and CDK add a few."""
    count = len(subject.settings.tags)
    if count > 40:
        yield Problem(
            "tags",
            count,
            f"{count} tags are more than 40: AWS allows 50, and trainforge and CDK add their own",
        )


_NEAR = 3


@error("region-unknown", too_strict=True, depends_on=("region",))
def _unknown(subject: Subject) -> Iterator[Problem]:
    """A region that AWS does not have is noticed only at a deployment, when an endpoint does not resolve.

    Source: botocore's endpoint data. Too strict where AWS has opened a region since the catalog was refreshed.
    """
    region = subject.settings.region
    if REGION.fullmatch(region) and region not in regions():
        yield Problem(
            "region",
            region,
            f"AWS has no region '{shown(region)}'{guess(region, regions())}",
            "'trainforge catalog regions' reads new regions from botocore",
        )


@error("hyperpod-region", too_strict=True, depends_on=("region",))
def _without_clusters(subject: Subject) -> Iterator[Problem]:
    """CloudFormation makes a HyperPod cluster only where it has the type AWS::SageMaker::Cluster.

    Source: the resource types of each region that come with cfn-lint. Too strict where CloudFormation has got
    the type since the catalog was refreshed.
    """
    region = subject.settings.region
    if subject.settings.hyperpod and region in regions() and region not in cluster_regions():
        near = nearest(region, cluster_regions(), _NEAR, cutoff=0.5)
        yield Problem(
            "region",
            region,
            f"CloudFormation has no HyperPod clusters (AWS::SageMaker::Cluster) in '{region}'",
            f"it has them in {listed(near)} among others" if near else "",
        )


@error("hyperpod-region-type", too_strict=True, depends_on=("region",))
def _without_type(subject: Subject) -> Iterator[Problem]:
    """HyperPod has fewer instance types in some regions than in others.

    Source: AWS's price lists as cfn-lint's rule E3644 has them. Too strict where SageMaker has brought a type
    to the region since the catalog was refreshed.
    """
    region = subject.settings.region
    offered = cluster_types(region)
    if offered is None:
        return
    priced = priced_types()
    for path, name, what in hyperpod_instance_types(subject.settings):
        found = facts(name)
        if found is None or not found.hyperpod or name in offered or name not in priced:
            continue
        kin = nearest(
            name,
            [
                other
                for other in sorted(offered)
                if (fact := facts(other)) and fact.is_accelerated == found.is_accelerated
            ],
            _NEAR,
            cutoff=0.4,
        )
        near = f"there it offers {listed(kin)} among others; " if kin else ""
        places = listed(regions_of_type(name)[:_NEAR])
        yield Problem(
            path,
            name,
            f"{what}: HyperPod does not offer '{name}' in '{region}'",
            f"{near}it offers '{name}' in {places} among other regions",
        )


# Ids have 17 hexadecimal digits, those from before 2018 have 8 (EC2 user guide, "Resource IDs").
_DIGITS = r"(?:[0-9a-f]{8}|[0-9a-f]{17})"
_KINDS = {
    "vpc": "a VPC",
    "subnet": "a subnet",
    "rtb": "a route table",
    "sg": "a security group",
    "fs": "a file system",
}


@error("resource-id")
def _ids(subject: Subject) -> Iterator[Problem]:
    """An id of another kind, or one that lost a digit, is refused only after stacks have begun to change."""
    for path, prefix, value in _written(subject.settings):
        if not re.fullmatch(f"{prefix}-{_DIGITS}", value):
            yield Problem(
                path,
                value,
                f"'{shown(value)}' is not the id of {_KINDS[prefix]}",
                f"an id is '{prefix}-' and 17 hexadecimal digits (8 for an old one)",
            )


def _written(settings: Settings) -> Iterator[tuple[str, str, str]]:
    existing = settings.network.existing
    if existing:
        base = "network.existing"
        yield f"{base}.vpc_id", "vpc", existing.vpc_id
        for zone, subnet in existing.private_subnets.items():
            yield f"{base}.private_subnets.{zone}", "subnet", subnet
        for index, table in enumerate(existing.private_route_table_ids):
            yield f"{base}.private_route_table_ids.{index}", "rtb", table
        for name in ("efa_security_group_id", "file_system_security_group_id"):
            group = getattr(existing, name)
            if group is not None:
                yield f"{base}.{name}", "sg", group
    for kind in ("lustre", "openzfs"):
        section = getattr(settings.storage, kind)
        if section and section.existing:
            yield f"storage.{kind}.existing.file_system_id", "fs", section.existing.file_system_id


@error("account-id")
def _owner(subject: Subject) -> Iterator[Problem]:
    """The account of shared subnets goes into the ARNs of node roles as it is written."""
    existing = subject.settings.network.existing
    owner = existing.owner_account if existing else None
    if owner is not None and not re.fullmatch(r"\d{12}", owner):
        yield Problem(
            "network.existing.owner_account",
            owner,
            f"'{shown(owner)}' is not an account id of 12 digits",
            "'aws ec2 describe-subnets' prints it as OwnerId; quote it in YAML, or leading zeros are lost",
        )


@error("mount-name")
def _mount_name(subject: Subject) -> Iterator[Problem]:
    """Clients mount a Lustre file system by this name; FSx chose it (botocore: LustreFileSystemMountName)."""
    lustre = subject.settings.storage.lustre
    if lustre and lustre.existing and not re.fullmatch(r"[A-Za-z0-9_-]{1,8}", lustre.existing.mount_name):
        name = lustre.existing.mount_name
        yield Problem(
            "storage.lustre.existing.mount_name",
            name,
            f"'{shown(name)}' is not a mount name of 1 to 8 letters, digits, '_' and '-'",
            "'aws fsx describe-file-systems' prints it as MountName",
        )


@error("bucket-name")
def _bucket_name(subject: Subject) -> Iterator[Problem]:
    """S3's rules for names (S3 user guide, "General purpose bucket naming rules")."""
    name = subject.settings.storage.bucket.existing
    if name is None:
        return
    path = "storage.bucket.existing"
    if name.startswith(("s3://", "arn:")):
        yield Problem(
            path, name, f"'{shown(name)}' is not the name of a bucket alone", "write the name alone"
        )
    elif not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or ".." in name or _is_address(name):
        yield Problem(
            path,
            name,
            f"'{shown(name)}' is not a bucket name of 3 to 63 lower case letters, digits, dots and dashes",
            "a name begins and ends with a letter or digit and is no IP address",
        )


def _is_address(name: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name) is not None


_ZONE_ID = re.compile(r"[a-z]{3,5}\d-az\d+")


@error("zone-region", depends_on=("region",))
def _zone_of_region(subject: Subject) -> Iterator[Problem]:
    """Everything of a deployment is in one region; a zone of another one is a mistake."""
    region = subject.settings.region
    for index, zone in enumerate(subject.settings.availability_zones):
        path = f"availability_zones.{index}"
        if _ZONE_ID.fullmatch(zone):
            yield Problem(
                path,
                zone,
                f"'{zone}' is the id of a zone; give its name, which each account maps for itself",
                "'aws ec2 describe-availability-zones' lists both",
            )
        elif REGION.fullmatch(region) and not re.fullmatch(re.escape(region) + r"[a-z]", zone):
            yield Problem(
                path,
                zone,
                f"'{shown(zone)}' is not a zone of the region '{region}'",
                f"a zone is the region with a letter, such as '{region}a'",
            )


@error("zone-letter", too_strict=True, depends_on=("region",))
def _zone_of_account(subject: Subject) -> Iterator[Problem]:
    """A zone that the region does not have is noticed only when subnets are created in it.

    Too strict where AWS has added a zone since the catalog was read. Which of the other letters an account has only
    AWS can tell.
    """
    region = subject.settings.region
    last = last_zone(region)
    for index, zone in enumerate(subject.settings.availability_zones):
        letter = zone.removeprefix(region)
        if last and re.fullmatch(r"[a-z]", letter) and letter > last:
            yield Problem(
                f"availability_zones.{index}",
                zone,
                f"the region '{region}' has no zone '{zone}': its last one in the catalog is '{region}{last}'",
                f"'aws ec2 describe-availability-zones --region {region}' lists those of your account; acknowledge "
                "'zone-letter' where it has this one",
            )


@error("zone-duplicate")
def _zone_twice(subject: Subject) -> Iterator[Problem]:
    """Each zone gets its own subnets; one that is listed twice would get two."""
    seen: dict[str, int] = {}
    for index, zone in enumerate(subject.settings.availability_zones):
        if zone in seen:
            yield Problem(
                f"availability_zones.{index}", zone, f"the zone '{shown(zone)}' is listed twice", "remove one"
            )
        seen.setdefault(zone, index)


@error("zone-unknown", depends_on=("availability_zones",))
def _zone_listed(subject: Subject) -> Iterator[Problem]:
    """Subnets are made for the listed zones only, so nothing can be in another one."""
    listed_zones = subject.settings.availability_zones
    for path, zone, what in zones(subject.settings):
        if zone not in listed_zones:
            yield Problem(
                path,
                zone,
                f"{what}: the zone '{shown(zone)}' is not among 'availability_zones'",
                f"use {listed(listed_zones)}, or add '{shown(zone)}' to 'availability_zones'",
            )


@error("efa-across-zones", too_strict=True, depends_on=("availability_zones", "pools", "hyperpod.partitions"))
def _partition_across_zones(subject: Subject) -> Iterator[Problem]:
    """EFA traffic does not leave a zone, and a job may get any nodes of its partition.

    Too strict where jobs choose their nodes by a constraint, or never use more than one node.
    """
    hyperpod = subject.settings.hyperpod
    if hyperpod is None:
        return
    members: dict[str, list[Pool]] = defaultdict(list)
    for use in uses(subject.settings):
        type_facts = facts(use.pool.instance_type) if use.pool else None
        # A ParallelCluster's queue never spans zones: 'queue-mixed' reports it.
        if use.cluster == HYPERPOD.name and use.pool and type_facts and type_facts.supports_efa:
            members[hyperpod.partitions.get(use.name, use.name)].append(use.pool)
    for partition, pools in members.items():
        places = Counter(pool.availability_zone for pool in pools)
        if len(places) < 2:
            continue
        home = places.most_common(1)[0][0]
        for pool in pools:
            if pool.availability_zone != home:
                yield Problem(
                    subject.settings.zone_path(pool.name),
                    pool.availability_zone,
                    f"partition '{shown(partition)}' spans the zones {listed(places, 'and')}, and EFA does "
                    f"not leave a zone: pool '{pool.name}' is in another zone",
                    "give each zone a partition of its own under 'hyperpod.partitions'",
                )


@warning("lustre-zone", depends_on=("availability_zones", "storage.lustre", "pools"))
def _lustre_elsewhere(subject: Subject) -> Iterator[Problem]:
    """Lustre has its servers in one zone: reads and writes of pools in another zone are slower and cost money.

    Source: Amazon FSx for Lustre pricing, data transfer between Availability Zones. The rules `lustre-efa-zone`
    and `lustre-efa-client-zone` cover file systems with EFA.
    """
    settings = subject.settings
    lustre = made_lustre(settings)
    if lustre is None or lustre.efa:
        return
    known = settings.availability_zones
    zone = lustre.availability_zone or known[0]
    # 'zone-unknown' reports zones that are not listed.
    clients = {
        use.name: use.pool for use in uses(settings) if use.pool and use.pool.availability_zone in known
    }
    if zone not in known:
        return
    others = [pool for pool in clients.values() if pool.availability_zone != zone]
    if others and len(others) == len(clients):
        places = list(dict.fromkeys(pool.availability_zone for pool in others))
        yield Problem(
            "storage.lustre.availability_zone" if lustre.availability_zone else "storage.lustre",
            zone,
            f"the Lustre file system is in zone '{shown(zone)}' and all pools of the clusters in "
            f"{listed(places, 'and')}: all their reads and writes cross zones, which is slower and costs money",
            f"set 'availability_zone: {places[0]}' under 'storage.lustre'",
        )
        return
    for pool in others:
        yield Problem(
            settings.zone_path(pool.name),
            pool.availability_zone,
            f"pool '{pool.name}' is in zone '{shown(pool.availability_zone)}' and the Lustre file system in "
            f"'{shown(zone)}': its reads and writes cross zones, which is slower and costs money",
            "put them in one zone, or acknowledge this if the pool uses the file system little",
        )
