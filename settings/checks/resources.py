"""Rules on ids of resources that stand already: their form, so that a slip shows before anything changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from settings.checks.rule import Problem, Subject, error
from settings.deployment import Settings
from settings.parser.values import shown

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
        yield Problem(path, name, f"'{shown(name)}' is not a bucket's bare name", "write the name alone")
    elif not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or ".." in name or _is_address(name):
        yield Problem(
            path,
            name,
            f"'{shown(name)}' is not a bucket name of 3 to 63 lower case letters, digits, dots and dashes",
            "a name begins and ends with a letter or digit and is no IP address",
        )


def _is_address(name: str) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name) is not None
