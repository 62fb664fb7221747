"""The inventory of the emulated account, which shows that a destroyed deployment has left nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from emulator.server import Emulator

Item = tuple[str, str]
"""A resource: its kind and its id."""

EXCUSED: dict[str, str] = {
    "KMS key pending deletion": "AWS keeps a key for its window of 7 to 30 days, and so does the emulator",
}
"""Resources that may be left after a deployment was destroyed, by kind, with the reason."""

EXCUSED_NAMES: dict[Item, str] = {
    (
        "log group",
        "/aws/sagemaker/Clusters/",
    ): "HyperPod's log group of the nodes, which the service keeps",
    (
        "SSM parameter",
        "/imagebuilder/",
    ): "the newest image's id, which Image Builder writes: images outlive their pipeline",
}
"""Leftovers that are allowed, by kind and how its name begins, with the reason."""

RETAINED = "its deletion policy is to retain it (retention: durable)"


def inventory(emulator: Emulator) -> set[Item]:
    """Return all resources in the account and region, of the services that the stacks use."""
    return {(kind, identifier) for kind, read in _READERS.items() for identifier in read(emulator.client)}


def left_over(emulator: Emulator, before: set[Item]) -> tuple[list[Item], list[tuple[Item, str]]]:
    """Return the resources that did not exist `before`: those that must not be left, and those that may, with reasons.

    What a stack was told to retain may stay, and so may the kinds of EXCUSED and the names of EXCUSED_NAMES.
    """
    retained = {entry.physical_id for stack in emulator.ledger() for entry in stack.retained}
    wrong: list[Item] = []
    excused: list[tuple[Item, str]] = []
    for item in sorted(inventory(emulator) - before):
        kind, identifier = item
        if identifier in retained:
            excused.append((item, RETAINED))
        elif kind in EXCUSED:
            excused.append((item, EXCUSED[kind]))
        elif reason := _excuse(item):
            excused.append((item, reason))
        else:
            wrong.append(item)
    return wrong, excused


def _excuse(item: Item) -> str:
    """Return why an item may be left, by its name; empty if it may not."""
    kind, identifier = item
    return next(
        (
            reason
            for (known, begin), reason in EXCUSED_NAMES.items()
            if known == kind and identifier.startswith(begin)
        ),
        "",
    )


Client = Callable[[str], Any]
Reader = Callable[[Client], Iterator[str]]


def _pages(service: str, operation: str, result: str, key: str, **arguments: Any) -> Reader:
    """Return a reader of one field of a paginated operation."""

    def read(client: Client) -> Iterator[str]:
        for page in client(service).get_paginator(operation).paginate(**arguments):
            for item in page[result]:
                yield item[key]

    return read


def _living(service: str, operation: str, result: str, key: str, state: str) -> Reader:
    """Return a reader that leaves out what is deleted and still shown, as EC2 does for a while."""

    def read(client: Client) -> Iterator[str]:
        for page in client(service).get_paginator(operation).paginate():
            for item in page[result]:
                if str(item[state]).lower() not in ("deleted", "deleting"):
                    yield item[key]

    return read


def _buckets(client: Client) -> Iterator[str]:
    for bucket in client("s3").list_buckets()["Buckets"]:
        yield bucket["Name"]


def _addresses(client: Client) -> Iterator[str]:
    for address in client("ec2").describe_addresses()["Addresses"]:
        yield address["AllocationId"]


def _associations(client: Client) -> Iterator[str]:
    for association in client("fsx").describe_data_repository_associations()["Associations"]:
        yield association["AssociationId"]


def _instances(client: Client) -> Iterator[str]:
    for page in client("ec2").get_paginator("describe_instances").paginate():
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] != "terminated":
                    yield instance["InstanceId"]


def _repositories(client: Client) -> Iterator[str]:
    for repository in client("ecr").describe_repositories()["repositories"]:
        yield repository["repositoryName"]


def _projects(client: Client) -> Iterator[str]:
    yield from client("codebuild").list_projects()["projects"]


def _named(service: str, operation: str, result: str) -> Reader:
    """Return a reader of a paginated operation that answers with names alone."""

    def read(client: Client) -> Iterator[str]:
        for page in client(service).get_paginator(operation).paginate():
            yield from page[result]

    return read


def _placement_groups(client: Client) -> Iterator[str]:
    for group in client("ec2").describe_placement_groups()["PlacementGroups"]:
        yield group["GroupName"]


def _ecs_clusters(client: Client) -> Iterator[str]:
    ecs = client("ecs")
    # ECS shows a deleted cluster as inactive for a while.
    for cluster in ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]:
        if cluster["status"] == "ACTIVE":
            yield cluster["clusterArn"]


def _rules(client: Client) -> Iterator[str]:
    for rule in client("events").list_rules()["Rules"]:
        yield rule["Name"]


def _volumes(client: Client) -> Iterator[str]:
    """Yield volumes but those that moto leaves with instances that have ended: it makes one too many of each."""
    running = set(_instances(client))
    for page in client("ec2").get_paginator("describe_volumes").paginate():
        for volume in page["Volumes"]:
            holders = {held["InstanceId"] for held in volume.get("Attachments", [])}
            if not holders or holders & running:
                yield volume["VolumeId"]


def _keys(*, pending: bool) -> Reader:
    def read(client: Client) -> Iterator[str]:
        kms = client("kms")
        # Keys of AWS's own, made when something is first encrypted, stay in every account.
        aliases = kms.list_aliases()["Aliases"]
        managed = {one.get("TargetKeyId") for one in aliases if one["AliasName"].startswith("alias/aws/")}
        for page in kms.get_paginator("list_keys").paginate():
            for key in page["Keys"]:
                facts = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
                if key["KeyId"] not in managed and (facts["KeyState"] == "PendingDeletion") is pending:
                    yield key["KeyId"]

    return read


_OWN = [{"Key": "Owner", "Values": ["Self"]}]

_READERS: dict[str, Reader] = {
    "CloudFormation stack": _pages("cloudformation", "describe_stacks", "Stacks", "StackName"),
    "VPC": _pages("ec2", "describe_vpcs", "Vpcs", "VpcId"),
    "subnet": _pages("ec2", "describe_subnets", "Subnets", "SubnetId"),
    "route table": _pages("ec2", "describe_route_tables", "RouteTables", "RouteTableId"),
    "network ACL": _pages("ec2", "describe_network_acls", "NetworkAcls", "NetworkAclId"),
    "internet gateway": _pages("ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "NAT gateway": _living("ec2", "describe_nat_gateways", "NatGateways", "NatGatewayId", "State"),
    "elastic IP address": _addresses,
    "VPC endpoint": _living("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", "State"),
    "network interface": _pages(
        "ec2", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"
    ),
    "instance": _instances,
    "volume": _volumes,
    "launch template": _pages("ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "auto scaling group": _pages(
        "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", "AutoScalingGroupName"
    ),
    "database cluster": _pages("rds", "describe_db_clusters", "DBClusters", "DBClusterIdentifier"),
    "database instance": _pages("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier"),
    "database subnet group": _pages(
        "rds", "describe_db_subnet_groups", "DBSubnetGroups", "DBSubnetGroupName"
    ),
    "secret": _pages("secretsmanager", "list_secrets", "SecretList", "ARN"),
    "hosted zone": _pages("route53", "list_hosted_zones", "HostedZones", "Id"),
    "flow log": _pages("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    "security group": _pages("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    "bucket": _buckets,
    "FSx file system": _pages("fsx", "describe_file_systems", "FileSystems", "FileSystemId"),
    "FSx repository association": _associations,
    "FSx backup": _pages("fsx", "describe_backups", "Backups", "BackupId"),
    "EKS cluster": _named("eks", "list_clusters", "clusters"),
    "placement group": _placement_groups,
    "compute environment": _pages(
        "batch", "describe_compute_environments", "computeEnvironments", "computeEnvironmentArn"
    ),
    "job queue": _pages("batch", "describe_job_queues", "jobQueues", "jobQueueArn"),
    "scheduling policy": _pages("batch", "list_scheduling_policies", "schedulingPolicies", "arn"),
    "job definition": _pages(
        "batch", "describe_job_definitions", "jobDefinitions", "jobDefinitionArn", status="ACTIVE"
    ),
    "ECS cluster": _ecs_clusters,
    "dashboard": _pages("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "alarm": _pages("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "Grafana workspace": _pages("grafana", "list_workspaces", "workspaces", "id"),
    "compute quota": _pages("sagemaker", "list_compute_quotas", "ComputeQuotaSummaries", "Name"),
    "Prometheus workspace": _pages("amp", "list_workspaces", "workspaces", "arn"),
    "HyperPod cluster": _pages("sagemaker", "list_clusters", "ClusterSummaries", "ClusterName"),
    "role": _pages("iam", "list_roles", "Roles", "RoleName"),
    "managed policy": _pages("iam", "list_policies", "Policies", "Arn", Scope="Local"),
    "instance profile": _pages("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    "log group": _pages("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "SSM parameter": _pages("ssm", "describe_parameters", "Parameters", "Name"),
    "SSM document": _pages("ssm", "list_documents", "DocumentIdentifiers", "Name", Filters=_OWN),
    "topic": _pages("sns", "list_topics", "Topics", "TopicArn"),
    "subscription": _pages("sns", "list_subscriptions", "Subscriptions", "SubscriptionArn"),
    "event rule": _rules,
    "KMS key": _keys(pending=False),
    "KMS key pending deletion": _keys(pending=True),
    "function": _pages("lambda", "list_functions", "Functions", "FunctionName"),
    "layer": _pages("lambda", "list_layers", "Layers", "LayerArn"),
    "repository": _repositories,
    "build project": _projects,
}
