"""Settings of the network: address ranges, ways out, or an existing VPC."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import Field

from catalog import log_retention
from settings.parser.fields import NotBool
from settings.sections.model import Model, TextOnly

LogDays = Annotated[log_retention.LogDays, NotBool]
"""Days that logs are kept; `yes` is none of them."""

Cidr = Annotated[IPv4Network, Field(strict=False), TextOnly]
"""An IPv4 address range, written as text in the configuration."""


class ExistingNetwork(Model):
    """An existing VPC, described by ids so that synthesis looks nothing up."""

    vpc_id: str
    """Id of the VPC, `vpc-...`."""
    private_subnets: dict[str, str] = Field(min_length=1, max_length=6)
    """The private subnet (`subnet-...`) of each zone."""
    owner_account: str | None = None
    """The account (12 digits) that owns the subnets, where another account shares them by AWS RAM."""
    private_route_table_ids: list[str] = []
    """Route tables (`rtb-...`) of those subnets: a new multi-zone OpenZFS file system needs them."""
    efa_security_group_id: str | None = None
    """A security group that allows itself all traffic in both directions; by default one is made."""
    file_system_security_group_id: str | None = None
    """A security group for file systems; by default one is made."""


class NetworkSettings(Model):
    """The VPC: a primary range for the public side and control, secondary ranges for private subnets."""

    primary_cidr: Cidr = IPv4Network("10.0.0.0/16")
    """Primary address range: public subnets and what controls the cluster."""
    secondary_cidrs: list[Cidr] = Field(default=[], max_length=4)
    """Ranges of the private subnets, each shared by two zones; by default 10.1.0.0/16, 10.2.0.0/16, ..."""
    nat: Literal["single", "per-zone"] = "single"
    """One NAT gateway for all zones (cheaper), or one per zone (a zone's failure stays its own)."""
    isolated: bool = False
    """No way to the internet at all: no NAT, no public subnets; interface endpoints instead."""
    flow_logs: Literal["all", "accept", "reject", "none"] = "all"
    """Traffic of the VPC that flow logs record; `none` makes no flow log."""
    flow_log_destination: Literal["cloudwatch", "s3"] = "cloudwatch"
    """Destination of flow logs: a log group, which is quick to query, or a bucket, which is cheaper to write to."""
    flow_log_days: LogDays = 30
    """Days for which flow logs are kept."""
    existing: ExistingNetwork | None = None
    """Use this VPC instead of making one."""
