"""The demo as a test: the real CDK CLI deploys the default configuration, and AWS's own calls see what stands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from catalog import addresses
from catalog.site import Site
from settings.deployment import Settings
from settings.reading import read
from tests.emulator.cdk import ROOT, Cdk, Outcome
from tests.emulator.inventory import Item, inventory, left_over
from tests.emulator.resources.resource import Kind
from tests.emulator.server import Emulator, LedgerStack
from tests.programs import require_program

CONFIGURATION = "config/default.yaml"
STACK = "HyperPodStack"
ANYWHERE = "0.0.0.0/0"


@dataclass
class Deployment:
    """The default configuration, deployed once: the emulator that holds it, and what stood there before."""

    emulator: Emulator
    cdk: Cdk
    settings: Settings
    before: set[Item]
    outcome: Outcome

    def client(self, service: str) -> Any:
        return self.emulator.client(service)

    def stack(self, suffix: str) -> LedgerStack:
        return self.emulator.stack(f"{self.settings.name}-{suffix}")

    def ids(self, suffix: str, kind: str) -> list[str]:
        return [entry.physical_id for entry in self.stack(suffix).resources if entry.type == kind]

    def id(self, suffix: str, kind: str) -> str:
        (only,) = self.ids(suffix, kind)
        return only


@pytest.fixture(scope="module")
def deployment(artifacts: Callable[[str], Path]) -> Iterator[Deployment]:
    """Return the default configuration, deployed by the CDK CLI."""
    require_program("node", "'make setup' installs it from PyPI")
    require_program("cdk", "'make setup' installs it")
    settings = read(ROOT / CONFIGURATION).settings
    assert settings is not None
    folder = artifacts("deployment")
    with Emulator(settings.region, log=folder / "emulator.log") as emulator:
        cdk = Cdk(emulator, folder, context=[f"config={CONFIGURATION}"])
        cdk.bootstrap()
        before = inventory(emulator)
        outcome = cdk.deploy(STACK, outputs=folder / "outputs.json")
        stacks = [stack.name for stack in emulator.ledger()]
        (folder / "stacks.json").write_text(json.dumps(stacks))
        yield Deployment(emulator, cdk, settings, before, outcome)


@pytest.fixture(scope="module")
def vpc(deployment: Deployment) -> dict[str, Any]:
    """Return the VPC as EC2 describes it."""
    held = deployment.id("network", "AWS::EC2::VPC")
    found: dict[str, Any] = deployment.client("ec2").describe_vpcs(VpcIds=[held])["Vpcs"][0]
    return found


@pytest.fixture(scope="module")
def subnets(deployment: Deployment, vpc: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the VPC's subnets, public (with a route to an internet gateway) and private."""
    ec2 = deployment.client("ec2")
    here = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    sides: dict[str, list[dict[str, Any]]] = {"public": [], "private": []}
    tables = ec2.describe_route_tables(Filters=here)["RouteTables"]
    for subnet in ec2.describe_subnets(Filters=here)["Subnets"]:
        (table,) = [
            table
            for table in tables
            if subnet["SubnetId"] in [use.get("SubnetId") for use in table["Associations"]]
        ]
        subnet["Route"] = next(
            route for route in table["Routes"] if route.get("DestinationCidrBlock") == ANYWHERE
        )
        public = subnet["Route"].get("GatewayId", "").startswith("igw-")
        sides["public" if public else "private"].append(subnet)
    return sides


def test_three_stacks_are_complete_and_nothing_is_only_recorded(deployment: Deployment) -> None:
    for suffix in ("network", "storage", "hyperpod"):
        stack = deployment.stack(suffix)
        assert stack.status == "CREATE_COMPLETE"
        assert stack.count(Kind.RECORDED) == 0
        assert stack.count(Kind.CREATED) > 0
        assert stack.count(Kind.CREATED) + stack.count(Kind.ANSWERED) == len(stack.resources)


def test_what_a_person_needs_is_in_the_outputs(deployment: Deployment) -> None:
    outputs = deployment.stack("hyperpod").outputs
    assert set(outputs) >= {
        "ClusterName",
        "ClusterArn",
        "SessionDocument",
        "SiteParameter",
        "NotificationTopic",
    }
    assert outputs["ClusterArn"].startswith(f"arn:aws:sagemaker:{deployment.settings.region}:")
    assert f"{STACK}.ClusterName = {outputs['ClusterName']}" in deployment.outcome.text


def test_the_vpc_has_a_primary_range_and_secondary_ones(deployment: Deployment, vpc: dict[str, Any]) -> None:
    network, zones = deployment.settings.network, len(deployment.settings.availability_zones)
    primary = network.primary_cidr
    secondary = network.secondary_cidrs or addresses.default_secondary_ranges(primary, zones)
    held = {
        item["CidrBlock"]
        for item in vpc["CidrBlockAssociationSet"]
        if item["CidrBlockState"]["State"] == "associated"
    }
    assert vpc["CidrBlock"] == str(primary)
    assert held == {str(primary), *map(str, secondary)}


def test_private_subnets_lie_in_secondary_ranges_one_a_zone(
    deployment: Deployment, vpc: dict[str, Any], subnets: dict[str, list[dict[str, Any]]]
) -> None:
    primary = IPv4Network(vpc["CidrBlock"])
    for side, inside in (("public", True), ("private", False)):
        blocks = [IPv4Network(item["CidrBlock"]) for item in subnets[side]]
        assert [block.subnet_of(primary) for block in blocks] == [inside] * len(blocks)
        zones = sorted(item["AvailabilityZone"] for item in subnets[side])
        assert zones == sorted(deployment.settings.availability_zones)
        assert not any(item["MapPublicIpOnLaunch"] for item in subnets[side])


def test_private_subnets_reach_out_through_the_nat_gateway(
    deployment: Deployment, subnets: dict[str, list[dict[str, Any]]]
) -> None:
    gateways = deployment.client("ec2").describe_nat_gateways()["NatGateways"]
    assert [item["State"] for item in gateways] == ["available"]
    assert gateways[0]["SubnetId"] in [item["SubnetId"] for item in subnets["public"]]
    used = {item["Route"]["NatGatewayId"] for item in subnets["private"]}
    assert used == {gateways[0]["NatGatewayId"]}


def test_s3_and_dynamodb_are_reached_without_the_nat_gateway(deployment: Deployment) -> None:
    endpoints = deployment.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    names = sorted(item["ServiceName"].rsplit(".", 1)[1] for item in endpoints)
    assert names == ["dynamodb", "s3"]
    assert {item["VpcEndpointType"] for item in endpoints} == {"Gateway"}
    assert all(len(item["RouteTableIds"]) >= 2 for item in endpoints)


def test_flow_logs_go_where_their_role_may_write(deployment: Deployment) -> None:
    (log,) = deployment.client("ec2").describe_flow_logs()["FlowLogs"]
    assert log["LogGroupName"] == deployment.id("network", "AWS::Logs::LogGroup")
    iam, role = deployment.client("iam"), log["DeliverLogsPermissionArn"].split("/")[-1]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    statements = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
    written = [item for item in statements if "logs:PutLogEvents" in item["Action"]]
    assert len(written) == 1
    assert log["LogGroupName"] in json.dumps(written[0]["Resource"])


def group(deployment: Deployment, output: str) -> dict[str, Any]:
    parameter = deployment.client("ssm").get_parameter(Name=f"/trainforge/{deployment.settings.name}/network")
    held = json.loads(parameter["Parameter"]["Value"])[output]
    found: dict[str, Any] = deployment.client("ec2").describe_security_groups(GroupIds=[held])[
        "SecurityGroups"
    ][0]
    return found


def peers(permissions: list[dict[str, Any]], protocol: str = "-1") -> list[str]:
    return [
        pair["GroupId"]
        for item in permissions
        if item["IpProtocol"] == protocol
        for pair in item["UserIdGroupPairs"]
    ]


def test_the_efa_group_allows_itself_in_both_directions_and_out(deployment: Deployment) -> None:
    efa = group(deployment, "efa_security_group_id")
    assert peers(efa["IpPermissions"]) == [efa["GroupId"]]
    assert peers(efa["IpPermissionsEgress"]) == [efa["GroupId"]]
    ways_out = [
        span["CidrIp"]
        for item in efa["IpPermissionsEgress"]
        if item["IpProtocol"] == "-1"
        for span in item["IpRanges"]
    ]
    assert ways_out == [ANYWHERE]
    assert [span for item in efa["IpPermissions"] for span in item["IpRanges"]] == []


def test_file_systems_are_reached_by_nodes_on_lustre_and_nfs_ports_only(deployment: Deployment) -> None:
    efa, files = (
        group(deployment, name) for name in ("efa_security_group_id", "file_system_security_group_id")
    )
    open_to_nodes = {
        (item["IpProtocol"], item["FromPort"], item["ToPort"])
        for item in files["IpPermissions"]
        if efa["GroupId"] in [pair["GroupId"] for pair in item["UserIdGroupPairs"]]
    }
    assert {("tcp", 988, 988), ("tcp", 1018, 1023), ("tcp", 2049, 2049)} <= open_to_nodes
    assert "-1" not in {protocol for protocol, _, _ in open_to_nodes}
    assert [span for item in files["IpPermissions"] for span in item["IpRanges"]] == []


@pytest.fixture(scope="module")
def buckets(deployment: Deployment) -> list[str]:
    """Return the names of the storage stack's buckets."""
    found = deployment.ids("storage", "AWS::S3::Bucket")
    assert len(found) >= 3
    return found


def test_buckets_are_encrypted_versioned_and_private(deployment: Deployment, buckets: list[str]) -> None:
    s3 = deployment.client("s3")
    for bucket in buckets:
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert list(block.values()) == [True] * 4
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert all(rule["Status"] == "Enabled" for rule in rules)
        assert rules


def test_buckets_take_tls_only(deployment: Deployment, buckets: list[str]) -> None:
    s3 = deployment.client("s3")
    for bucket in buckets:
        statements = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        denied = [
            item
            for item in statements
            if item["Effect"] == "Deny"
            and item.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        ]
        assert len(denied) == 1
        assert sorted(denied[0]["Resource"]) == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        assert denied[0]["Principal"] in ("*", {"AWS": "*"})


def test_data_and_scripts_are_access_logged_and_scripts_are_named_for_hyperpod(
    deployment: Deployment, buckets: list[str]
) -> None:
    s3 = deployment.client("s3")
    targets = {
        bucket: s3.get_bucket_logging(Bucket=bucket).get("LoggingEnabled", {}).get("TargetBucket")
        for bucket in buckets
    }
    unlogged = [bucket for bucket, target in targets.items() if target is None]
    assert len(unlogged) == 1
    assert set(targets.values()) == {None, unlogged[0]}
    assert [bucket for bucket in buckets if bucket.startswith("sagemaker-")]


def file_system(deployment: Deployment, kind: str) -> dict[str, Any]:
    found = deployment.client("fsx").describe_file_systems()["FileSystems"]
    (only,) = [item for item in found if item["FileSystemType"] == kind]
    assert isinstance(only, dict)
    return only


def test_lustre_stands_as_configured_and_is_linked_to_the_bucket(deployment: Deployment) -> None:
    wanted = deployment.settings.storage.lustre
    assert wanted is not None
    system = file_system(deployment, "LUSTRE")
    configuration = system["LustreConfiguration"]
    assert system["StorageCapacity"] == wanted.capacity_gib
    assert configuration["DeploymentType"] == "PERSISTENT_2"
    assert configuration["PerUnitStorageThroughput"] == wanted.throughput_mbps_per_tib
    assert configuration["DataCompressionType"] == "LZ4"
    assert configuration["MetadataConfiguration"]["Mode"] == "AUTOMATIC"
    (link,) = deployment.client("fsx").describe_data_repository_associations()["Associations"]
    assert link["FileSystemId"] == system["FileSystemId"]
    assert link["DataRepositoryPath"] == f"s3://{deployment.stack('storage').outputs['DataBucketName']}"
    for policy in ("AutoImportPolicy", "AutoExportPolicy"):
        assert sorted(link["S3"][policy]["Events"]) == ["CHANGED", "DELETED", "NEW"]


def test_homes_are_on_openzfs(deployment: Deployment) -> None:
    wanted = deployment.settings.storage.openzfs
    assert wanted is not None
    system = file_system(deployment, "OPENZFS")
    assert system["StorageCapacity"] == wanted.capacity_gib
    assert system["OpenZFSConfiguration"]["ThroughputCapacity"] == wanted.throughput_mbps
    assert system["OpenZFSConfiguration"]["DeploymentType"] == "SINGLE_AZ_HA_2"


@pytest.fixture(scope="module")
def cluster(deployment: Deployment) -> dict[str, Any]:
    """Return the cluster as SageMaker describes it."""
    name = deployment.stack("hyperpod").outputs["ClusterName"]
    found: dict[str, Any] = deployment.client("sagemaker").describe_cluster(ClusterName=name)
    return found


def test_the_cluster_runs_slurm_and_provisions_continuously(cluster: dict[str, Any]) -> None:
    assert cluster["ClusterStatus"] == "InService"
    assert cluster["Orchestrator"]["Slurm"]["SlurmConfigStrategy"] == "Managed"
    assert cluster["NodeProvisioningMode"] == "Continuous"
    assert cluster["NodeRecovery"] == "Automatic"


def test_the_cluster_has_a_controller_and_a_group_a_pool(
    deployment: Deployment, cluster: dict[str, Any]
) -> None:
    groups = {item["InstanceGroupName"]: item for item in cluster["InstanceGroups"]}
    kinds = [item["SlurmConfig"]["NodeType"] for item in groups.values()]
    assert kinds.count("Controller") == 1
    hyperpod = deployment.settings.hyperpod
    assert hyperpod is not None
    zones = {
        item["SubnetId"]: item["AvailabilityZone"]
        for item in deployment.client("ec2").describe_subnets()["Subnets"]
    }
    for name in hyperpod.pools:
        pool, found = deployment.settings.pool(name), groups[name]
        assert found["InstanceType"] == f"ml.{pool.instance_type}"
        assert found["TargetCount"] == pool.nodes
        assert found["SlurmConfig"]["NodeType"] == "Compute"
        assert len(found["SlurmConfig"]["PartitionNames"]) == 1
        (subnet,) = found["OverrideVpcConfig"]["Subnets"]
        assert zones[subnet] == pool.availability_zone
        assert found["OverrideVpcConfig"]["SecurityGroupIds"] == [
            group(deployment, "efa_security_group_id")["GroupId"]
        ]


def test_every_group_mounts_both_file_systems(deployment: Deployment, cluster: dict[str, Any]) -> None:
    lustre, home = (file_system(deployment, kind) for kind in ("LUSTRE", "OPENZFS"))
    for item in cluster["InstanceGroups"]:
        mounts = {key: value for part in item["InstanceStorageConfigs"] for key, value in part.items()}
        assert mounts["FsxLustreConfig"]["DnsName"] == lustre["DNSName"]
        assert mounts["FsxLustreConfig"]["MountName"] == lustre["LustreConfiguration"]["MountName"]
        assert mounts["FsxOpenZfsConfig"]["DnsName"] == home["DNSName"]


def test_the_nodes_role_is_for_sagemaker_and_may_find_file_systems(
    deployment: Deployment, cluster: dict[str, Any]
) -> None:
    iam = deployment.client("iam")
    (arn,) = {item["ExecutionRole"] for item in cluster["InstanceGroups"]}
    role = iam.get_role(RoleName=arn.split("/")[-1])["Role"]
    principals = [item["Principal"]["Service"] for item in role["AssumeRolePolicyDocument"]["Statement"]]
    assert principals == ["sagemaker.amazonaws.com"]
    documents = [
        iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    ]
    actions = {
        action
        for document in documents
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert "fsx:DescribeFileSystems" in actions
    assert not [action for action in actions if action.endswith("*")]


def test_events_of_the_cluster_reach_an_encrypted_topic(
    deployment: Deployment, cluster: dict[str, Any]
) -> None:
    topic = deployment.stack("hyperpod").outputs["NotificationTopic"]
    facts = deployment.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    assert facts["KmsMasterKeyId"]
    assert "events.amazonaws.com" in facts["Policy"]
    events = deployment.client("events")
    rules = deployment.ids("hyperpod", "AWS::Events::Rule")
    assert rules
    for name in rules:
        pattern = json.loads(events.describe_rule(Name=name)["EventPattern"])
        assert pattern["source"] == ["aws.sagemaker"]
        assert cluster["ClusterName"] in json.dumps(pattern["detail"])
        assert [item["Arn"] for item in events.list_targets_by_rule(Rule=name)["Targets"]] == [topic]


def test_the_site_says_where_runs_go(deployment: Deployment, cluster: dict[str, Any]) -> None:
    name = Site.parameter_name(deployment.settings.name, "hyperpod")
    site = Site.from_json(deployment.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
    assert site.cluster_name == cluster["ClusterName"]
    assert cluster["ClusterArn"].endswith(f":cluster/{site.cluster_id}")
    assert site.data_bucket == deployment.stack("storage").outputs["DataBucketName"]
    assert {mount.kind: mount.file_system_id for mount in site.mounts} == {
        "lustre": file_system(deployment, "LUSTRE")["FileSystemId"],
        "openzfs": file_system(deployment, "OPENZFS")["FileSystemId"],
    }
    assert site.roles["node"] in {item["ExecutionRole"] for item in cluster["InstanceGroups"]}
    assert site.session_document in deployment.ids("hyperpod", "AWS::SSM::Document")


def test_a_second_deployment_changes_nothing(deployment: Deployment) -> None:
    held, events = inventory(deployment.emulator), len(deployment.emulator.events())
    outcome = deployment.cdk.deploy(STACK)
    assert outcome.text.count("(no changes)") == 3
    assert inventory(deployment.emulator) == held
    assert len(deployment.emulator.events()) == events


def test_nothing_is_left_after_destruction(deployment: Deployment) -> None:
    """Runs last in this module: the others look at what stands."""
    data = deployment.stack("storage").outputs["DataBucketName"]
    deployment.client("s3").put_object(Bucket=data, Key="checkpoints/step-1", Body=b"x")
    deployment.cdk.destroy()
    wrong, excused = left_over(deployment.emulator, deployment.before)
    assert wrong == []
    # A key waits for its window in AWS, too; nothing else may be excused.
    assert {kind for (kind, _), _ in excused} <= {"KMS key pending deletion"}


def test_the_demo_prints_what_it_did_without_a_terminal(tmp_path: Path) -> None:
    require_program("cdk", "'make setup' installs it")
    result = subprocess.run(
        [sys.executable, "-m", "tests.emulator.demo", "--keep", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for text in (
        "-network CREATE_COMPLETE",
        "-hyperpod CREATE_COMPLETE",
        "recorded",
        "outputs",
        "ClusterArn",
        "is left",
    ):
        assert text in result.stdout
    assert "\x1b[" not in result.stdout
    assert (tmp_path / "cdk.log").exists()


def test_the_demo_fails_with_the_reason_and_the_log(tmp_path: Path) -> None:
    require_program("cdk", "'make setup' installs it")
    broken = tmp_path / "broken.yaml"
    broken.write_text((ROOT / CONFIGURATION).read_text().replace("capacity_gib: 1200", "capacity_gib: 1"))
    command = [
        sys.executable,
        "-m",
        "tests.emulator.demo",
        "--config",
        str(broken),
        "--keep",
        str(tmp_path / "kept"),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "storage.lustre" in result.stdout
    assert str(tmp_path / "kept" / "cdk.log") in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_a_configuration_that_is_not_there_is_a_plain_error() -> None:
    command = [sys.executable, "-m", "tests.emulator.demo", "--config", "config/nowhere.yaml"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "there is no configuration 'config/nowhere.yaml'" in result.stderr
