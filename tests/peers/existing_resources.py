"""Existing resources for a configuration, made in the emulator, and the cluster configuration that names them.

Network and file systems are those of the settings by kind and zone, without the CDK: what the stacks make of them is
the deployment tests' business, and a validator sees ids and groups only.
"""

from __future__ import annotations

from typing import Any

from aws_cdk.aws_ec2 import Port

from catalog.pool import CapacityBlock, Pool, Reservation
from emulator.server import Emulator
from settings.deployment import Settings
from stacks.parallelcluster_plan import ExistingResources, cluster_plan
from trainforge.parallelcluster.actions.archive import packed
from trainforge.parallelcluster.configuration import cluster_configuration
from trainforge.parallelcluster.node_actions import CustomAction, NodeActions
from trainforge.parallelcluster.services import AccountingDatabase, Directory
from trainforge.security_groups import LUSTRE_PORTS, NFS_PORTS

Configuration = dict[str, Any]


def cluster_on_existing_resources(emulator: Emulator, settings: Settings) -> Configuration:
    """Make what the cluster of a configuration needs, and return the cluster configuration that names it."""
    existing, reservations = _existing_resources(emulator, settings)
    configuration = cluster_configuration(cluster_plan(settings, existing))
    renamed: Configuration = _renamed(configuration, reservations)
    return renamed


def _existing_resources(emulator: Emulator, settings: Settings) -> tuple[ExistingResources, dict[str, str]]:
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
        ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": True}})
    subnets = {
        zone: ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{16 * number}.0/20", AvailabilityZone=zone)[
            "Subnet"
        ]["SubnetId"]
        for number, zone in enumerate(settings.availability_zones)
    }
    group = ec2.create_security_group(GroupName="efa", Description="EFA", VpcId=vpc)["GroupId"]
    itself = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=itself)
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=itself)
    file_systems = _file_system_group(emulator, vpc, clients=group)
    first = subnets[settings.availability_zones[0]]
    storage = settings.storage
    existing = ExistingResources(
        subnet_ids=subnets,
        security_group_id=group,
        lustre_id=_lustre(emulator, first, file_systems) if storage.lustre else "",
        home_volume_id=_home(emulator, first, file_systems) if storage.openzfs else "",
        policy_arns=("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",),
        actions=_actions(emulator, group),
        accounting=_accounting(emulator, group) if settings.accounting else None,
        directory=_directory(emulator, group) if settings.directory else None,
    )
    return existing, _reservations(emulator, settings)


def _file_system_group(emulator: Emulator, vpc: str, *, clients: str) -> str:
    """Make the group of file systems with the rules of `trainforge.security_groups`, and return its id."""
    ec2 = emulator.client("ec2")
    group = ec2.create_security_group(GroupName="file-systems", Description="FSx", VpcId=vpc)["GroupId"]
    ports = {clients: LUSTRE_PORTS + NFS_PORTS, group: LUSTRE_PORTS}
    for peer, numbers in ports.items():
        rules = [_permission(port, peer) for port in numbers]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rules)
        lustre = [_permission(port, peer) for port in LUSTRE_PORTS]
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=lustre)
    servers = [_permission(port, group) for port in LUSTRE_PORTS]
    ec2.authorize_security_group_ingress(GroupId=clients, IpPermissions=servers)
    return str(group)


def _permission(port: Port, source: str) -> dict[str, Any]:
    rule = port.to_rule_json()
    return {
        "IpProtocol": rule["ipProtocol"],
        "FromPort": rule["fromPort"],
        "ToPort": rule["toPort"],
        "UserIdGroupPairs": [{"GroupId": source}],
    }


def _lustre(emulator: Emulator, subnet: str, group: str) -> str:
    made = emulator.client("fsx").create_file_system(
        FileSystemType="LUSTRE",
        StorageCapacity=1200,
        SubnetIds=[subnet],
        SecurityGroupIds=[group],
        LustreConfiguration={"DeploymentType": "PERSISTENT_2", "PerUnitStorageThroughput": 250},
    )
    return str(made["FileSystem"]["FileSystemId"])


def _home(emulator: Emulator, subnet: str, group: str) -> str:
    made = emulator.client("fsx").create_file_system(
        FileSystemType="OPENZFS",
        StorageCapacity=256,
        SubnetIds=[subnet],
        SecurityGroupIds=[group],
        OpenZFSConfiguration={"DeploymentType": "SINGLE_AZ_HA_2", "ThroughputCapacity": 160},
    )
    return str(made["FileSystem"]["OpenZFSConfiguration"]["RootVolumeId"])


def _actions(emulator: Emulator, name: str) -> NodeActions:
    s3, bucket = emulator.client("s3"), f"sagemaker-{name}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": emulator.region})
    s3.put_object(Bucket=bucket, Key="set-up-node", Body=packed({}))
    script = f"s3://{bucket}/set-up-node"
    return NodeActions(
        start=(CustomAction(script, ("start", f"s3://{bucket}/ca.pem")),),
        configured=(CustomAction(script, ("configured",)),),
        revision="0123456789ab",
    )


def _secret(emulator: Emulator, name: str) -> str:
    made = emulator.client("secretsmanager").create_secret(Name=name, SecretString="of nobody")
    return str(made["ARN"])


def _accounting(emulator: Emulator, group: str) -> AccountingDatabase:
    return AccountingDatabase(
        uri="accounting.cluster-0123456789ab.us-west-2.rds.amazonaws.com:3306",
        user_name="slurm",
        password_secret_arn=_secret(emulator, f"accounting-{group}"),
    )


def _directory(emulator: Emulator, group: str) -> Directory:
    return Directory(
        domain_name="dc=demo,dc=internal",
        addresses=("ldaps://ldap.demo.internal",),
        read_only_user="cn=reader,dc=demo,dc=internal",
        password_secret_arn=_secret(emulator, f"directory-{group}"),
        ca_certificate_source="s3://anywhere/ca.pem",
    )


def _reservations(emulator: Emulator, settings: Settings) -> dict[str, str]:
    """Make the reservations and blocks that pools name, and return the ids that they have here by the ids named."""
    assert settings.parallelcluster
    made = {}
    for name in settings.parallelcluster.pools:
        pool = settings.pools[name]
        match pool.capacity:
            case Reservation(reservation_id=named):
                made[named] = reserved(emulator, pool)
            case CapacityBlock(reservation_id=named):
                made[named] = block(emulator, pool)
    return made


def reserved(emulator: Emulator, pool: Pool) -> str:
    """Reserve what a pool needs, and return the reservation's id."""
    made = emulator.client("ec2").create_capacity_reservation(
        InstanceType=pool.instance_type,
        InstancePlatform="Linux/UNIX",
        AvailabilityZone=pool.availability_zone,
        InstanceCount=pool.nodes,
        InstanceMatchCriteria="targeted",
    )
    return str(made["CapacityReservation"]["CapacityReservationId"])


def block(emulator: Emulator, pool: Pool) -> str:
    """Buy a capacity block in the pool's zone, and return its reservation's id."""
    ec2 = emulator.client("ec2")
    offers = ec2.describe_capacity_block_offerings(
        InstanceType=pool.instance_type, InstanceCount=pool.nodes, CapacityDurationHours=24
    )["CapacityBlockOfferings"]
    (offer,) = [item for item in offers if item["AvailabilityZone"] == pool.availability_zone]
    bought = ec2.purchase_capacity_block(
        CapacityBlockOfferingId=offer["CapacityBlockOfferingId"], InstancePlatform="Linux/UNIX"
    )
    return str(bought["CapacityReservation"]["CapacityReservationId"])


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value
