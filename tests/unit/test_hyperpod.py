"""The HyperPod stack: groups from pools, what the nodes may do, and what people and tools get."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo, Mount
from catalog.instances import instance_types
from catalog.pool import CapacityBlock, OnDemand, Pool, Spot, TrainingPlan
from tests.synthesis import Synthesis
from trainforge.hyperpod.groups import GroupDefaults, GroupNetwork, LifecycleHook, worker_group

ROLE = "arn:aws:iam::111122223333:role/nodes"
PLAN = "arn:aws:sagemaker:us-west-2:111122223333:training-plan/plan"


def pool(**changes: Any) -> Pool:
    values: dict[str, Any] = {
        "name": "gpu",
        "instance_type": "p5.48xlarge",
        "nodes": 4,
        "availability_zone": "us-west-2a",
        "capacity": OnDemand(),
    }
    return Pool(**values | changes)


def group_of(chosen: Pool, *, deep: bool = True, hook: LifecycleHook | None = None) -> dict[str, Any]:
    return worker_group(
        GroupDefaults(execution_role_arn=ROLE, hook=hook),
        chosen,
        partition="train",
        network=GroupNetwork("subnet-1", ("sg-1",)),
        deep_health_checks=deep,
    )


def cluster(synthesis: Synthesis) -> dict[str, Any]:
    return synthesis.only("HyperPodStack", "AWS::SageMaker::Cluster")


def groups(synthesis: Synthesis) -> dict[str, dict[str, Any]]:
    return {group["InstanceGroupName"]: group for group in cluster(synthesis)["InstanceGroups"]}


def test_a_pool_is_a_group_with_its_partition_and_its_zone() -> None:
    group = group_of(pool())
    assert group["InstanceType"] == "ml.p5.48xlarge"
    assert group["InstanceCount"] == 4
    assert group["SlurmConfig"] == {"NodeType": "Compute", "PartitionNames": ["train"]}
    assert group["OverrideVpcConfig"] == {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (OnDemand(), {}),
        (Spot(), {"CapacityRequirements": {"Spot": {}}}),
        (TrainingPlan(PLAN), {"TrainingPlanArn": PLAN}),
    ],
)
def test_the_capacity_source(capacity: Any, expected: dict[str, Any]) -> None:
    group = group_of(pool(capacity=capacity))
    assert {
        key: group[key] for key in ("CapacityRequirements", "TrainingPlanArn") if key in group
    } == expected


@pytest.mark.parametrize(
    ("instance_type", "interface_type", "expected"),
    [
        ("p5.48xlarge", None, None),
        ("p5.48xlarge", "efa-only", {"InterfaceType": "efa-only"}),
        ("p5.48xlarge", "efa", {"InterfaceType": "efa"}),
        ("g5.xlarge", "efa", None),
    ],
)
def test_the_interface_kind(instance_type: str, interface_type: Any, expected: Any) -> None:
    group = group_of(pool(instance_type=instance_type, interface_type=interface_type))
    assert group.get("NetworkInterface") == expected


@pytest.mark.parametrize(
    ("instance_type", "asked", "checked"),
    [("p5.48xlarge", True, True), ("p5.48xlarge", False, False), ("c6i.4xlarge", True, False)],
)
def test_deep_health_checks_where_the_type_supports_them(
    instance_type: str, asked: bool, checked: bool
) -> None:
    group = group_of(pool(instance_type=instance_type), deep=asked)
    assert ("OnStartDeepHealthChecks" in group) is checked


@pytest.mark.parametrize(
    ("nodes", "checks"), [(1, ["InstanceStress"]), (2, ["InstanceStress", "InstanceConnectivity"])]
)
def test_one_node_is_not_checked_for_its_connectivity(nodes: int, checks: list[str]) -> None:
    assert group_of(pool(nodes=nodes))["OnStartDeepHealthChecks"] == checks


def test_hyper_threads_can_be_switched_off() -> None:
    assert group_of(pool(threads_per_core=1))["ThreadsPerCore"] == 1
    assert "ThreadsPerCore" not in group_of(pool())


def test_the_default_cluster_is_configured_by_the_api_alone(default_synthesis: Synthesis) -> None:
    properties = cluster(default_synthesis)
    assert properties["Orchestrator"] == {"Slurm": {"SlurmConfigStrategy": "Managed"}}
    assert properties["NodeProvisioningMode"] == "Continuous"
    assert properties["NodeRecovery"] == "Automatic"
    found = groups(default_synthesis)
    assert [group["SlurmConfig"]["NodeType"] for group in found.values()] == [
        "Controller",
        "Login",
        "Compute",
    ]
    for group in found.values():
        assert "LifeCycleConfig" not in group
        kinds = [next(iter(storage)) for storage in group["InstanceStorageConfigs"]]
        assert kinds == ["EbsVolumeConfig", "FsxLustreConfig", "FsxOpenZfsConfig"]
    assert default_synthesis.resources("HyperPodStack", "Custom::CDKBucketDeployment") == []


def test_pools_partitions_and_no_login(synthesis: Callable[[str], Synthesis]) -> None:
    found = groups(synthesis("config/cpu.yaml"))
    assert list(found) == ["controller", "cpu", "spare"]
    assert found["spare"]["CapacityRequirements"] == {"Spot": {}}
    assert found["cpu"]["ThreadsPerCore"] == 1
    renamed = groups(synthesis("config/p5en-training-plan.yaml"))
    assert renamed["gpu"]["SlurmConfig"]["PartitionNames"] == ["p5en"]


def test_an_extension_is_shipped_and_hooked_after_initialisation(
    synthesis: Callable[[str], Synthesis],
) -> None:
    extended = synthesis("config/p5en-training-plan.yaml")
    for group in groups(extended).values():
        assert group["LifeCycleConfig"]["OnInitComplete"] == "on_init_complete.sh"
        assert "OnCreate" not in group["LifeCycleConfig"]
    upload = extended.only("HyperPodStack", "Custom::CDKBucketDeployment")
    assert re.fullmatch(r"hyperpod/node-setup/[0-9a-f]{12}", upload["DestinationBucketKeyPrefix"])
    [resource] = extended.resources("HyperPodStack", "AWS::SageMaker::Cluster")
    assert any("CustomResource" in dependency for dependency in resource["DependsOn"])
    shipped = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in extended.folder.glob("asset.*/node_setup.json")
    ]
    assert [user["name"] for user in shipped[0]["users"]] == ["ana", "bo"]
    assert shipped[0]["home_path"] == "/home"
    assert shipped[0]["mounts"] == ["/fsx", "/home"]
    assert shipped[0]["node_types"] == {"controller": "controller", "login": "login", "gpu": "compute"}


def test_custom_lifecycle_scripts_replace_it(tmp_path: Any, synthesized: Callable[[str], Synthesis]) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "on_create.sh").write_text("#!/bin/bash\n", encoding="utf-8")
    synthesis = synthesized(
        "name: test\nregion: us-west-2\navailability_zones: [us-west-2a]\n"
        "pools: {cpu: {instance_type: c6i.4xlarge, nodes: 1}}\n"
        "hyperpod: {pools: [cpu], lifecycle_scripts: {directory: scripts}}\n"
    )
    for group in groups(synthesis).values():
        assert group["LifeCycleConfig"]["OnCreate"] == "on_create.sh"
        assert "OnInitComplete" not in group["LifeCycleConfig"]


def test_an_external_accounting_database(synthesized: Callable[[str], Synthesis]) -> None:
    secret = "arn:aws:secretsmanager:us-west-2:111122223333:secret:slurm-AbCdEf"
    synthesis = synthesized(
        "name: test\nregion: us-west-2\navailability_zones: [us-west-2a]\n"
        "pools: {cpu: {instance_type: c6i.4xlarge, nodes: 1}}\n"
        f"hyperpod: {{pools: [cpu], accounting: {{endpoint: db.example.com, secret_arn: '{secret}'}}}}\n"
    )
    assert cluster(synthesis)["Orchestrator"]["Slurm"]["AccountingDatabase"] == {
        "Endpoint": "db.example.com",
        "Port": 3306,
        "SecretArn": secret,
    }
    # The controller alone reads the password: jobs have the role of the nodes that they run on.
    readers = [
        policy["Properties"]["Roles"]
        for policy in synthesis.resources("HyperPodStack", "AWS::IAM::Policy")
        if secret in str(policy)
    ]
    [[controller]] = readers
    roles = {name: group["ExecutionRole"]["Fn::GetAtt"][0] for name, group in groups(synthesis).items()}
    assert [name for name, role in roles.items() if role == controller["Ref"]] == ["controller"]


def test_the_controller_keeps_its_role_when_accounting_is_added(
    synthesized: Callable[[str], Synthesis],
) -> None:
    """An instance group that exists cannot get another role."""
    before = (
        "name: test\nregion: us-west-2\navailability_zones: [us-west-2a]\n"
        "pools: {cpu: {instance_type: c6i.4xlarge, nodes: 1}}\nhyperpod:\n  pools: [cpu]\n"
    )
    secret = "arn:aws:secretsmanager:us-west-2:111122223333:secret:slurm-AbCdEf"
    after = f"{before}  accounting: {{endpoint: db.example.com, secret_arn: '{secret}'}}\n"
    roles = [
        {name: group["ExecutionRole"] for name, group in groups(synthesized(text)).items()}
        for text in (before, after)
    ]
    assert roles[0] == roles[1]
    assert roles[0]["controller"] != roles[0]["cpu"]


def test_nodes_make_interfaces_in_their_own_subnets_only(default_synthesis: Synthesis) -> None:
    statements = _statements(default_synthesis, "ec2:CreateNetworkInterface")
    assert len(statements) == 2
    for statement in statements:
        resources = [str(resource) for resource in statement["Resource"]]
        assert sum("subnet/" in resource for resource in resources) == 1
        assert not any("subnet/*" in resource for resource in resources)


def _statements(synthesis: Synthesis, action: str) -> list[dict[str, Any]]:
    """Return the statements of the two roles of nodes that allow an action on network interfaces or the like."""
    return [
        statement
        for policy in synthesis.resources("HyperPodStack", "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if action in statement["Action"] or action == statement["Action"]
    ]


@pytest.mark.parametrize(
    "action",
    [
        "ec2:CreateNetworkInterfacePermission",
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteNetworkInterfacePermission",
    ],
)
def test_nodes_touch_interfaces_of_their_own_subnets_only(default_synthesis: Synthesis, action: str) -> None:
    statements = _statements(default_synthesis, action)
    assert len(statements) == 2
    for statement in statements:
        assert "network-interface/*" in str(statement["Resource"])
        [subnets] = statement["Condition"].values()
        assert list(statement["Condition"]) == ["ArnEquals"]
        assert "subnet/" in str(subnets["ec2:Subnet"])


def test_interfaces_are_detached_from_instances_of_any_account(default_synthesis: Synthesis) -> None:
    statements = _statements(default_synthesis, "ec2:DetachNetworkInterface")
    assert len(statements) == 2
    for statement in statements:
        # EC2 asks for the instance and for the interface; the CDK joins what is allowed on everything.
        assert statement["Resource"] == "*"
        assert "Condition" not in statement


_TWO_ZONES = """
name: test
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
network:
  existing:
    vpc_id: vpc-0a1b2c3d4e5f60718
    private_subnets: {us-west-2a: subnet-0a1b2c3d4e5f60711, us-west-2b: subnet-0a1b2c3d4e5f60712}
    owner_account: "111122223333"
pools:
  gpu: {instance_type: g5.8xlarge, nodes: 1, availability_zone: us-west-2b}
hyperpod: {pools: [gpu]}
"""


def test_nodes_of_another_zone_and_of_shared_subnets_get_interfaces(
    synthesized: Callable[[str], Synthesis],
) -> None:
    synthesis = synthesized(_TWO_ZONES)
    creating = _statements(synthesis, "ec2:CreateNetworkInterface")
    deleting = _statements(synthesis, "ec2:DeleteNetworkInterface")
    assert len(creating) == len(deleting) == 2
    expected = [f"ec2:us-west-2:111122223333:subnet/subnet-0a1b2c3d4e5f6071{last}" for last in (1, 2)]
    for resources in (
        *(create["Resource"] for create in creating),
        *(delete["Condition"]["ArnEquals"]["ec2:Subnet"] for delete in deleting),
    ):
        subnets = [str(arn) for arn in resources if "subnet/" in str(arn)]
        assert len(subnets) == 2
        assert all(end in arn for arn, end in zip(subnets, expected, strict=True))


def test_the_cluster_info_is_published_and_reads_back(default_synthesis: Synthesis) -> None:
    parameter = default_synthesis.only("HyperPodStack", "AWS::SSM::Parameter")
    assert parameter["Name"] == ClusterInfo.parameter_name("demo", "hyperpod")
    text = "".join(part if isinstance(part, str) else "TOKEN" for part in parameter["Value"]["Fn::Join"][1])
    info = ClusterInfo.from_json(text)
    assert (info.deployment, info.cluster, info.cluster_name) == ("demo", "hyperpod", "demo-hyperpod")
    assert info.partitions == {}, "only what differs from the pool's name"
    assert parameter["Tier"] == "Intelligent-Tiering"
    assert [(mount.path, mount.kind) for mount in info.mounts] == [("/fsx", "lustre"), ("/home", "openzfs")]
    assert ClusterInfo.from_json(info.to_json()) == info


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"unknown": 1}', '{"mounts": 3}'])
def test_what_is_not_cluster_info_is_refused_with_a_message(text: str) -> None:
    with pytest.raises(ValueError, match="not trainforge cluster info"):
        ClusterInfo.from_json(text)


def test_cluster_info_survives_the_parameter() -> None:
    info = ClusterInfo(
        "demo", "hyperpod", "us-west-2", "demo-hyperpod", mounts=(Mount("/fsx", "lustre", "fs-1"),)
    )
    assert ClusterInfo.from_json(info.to_json()) == info


def test_events_of_this_cluster_reach_an_encrypted_topic(synthesis: Callable[[str], Synthesis]) -> None:
    synthesized = synthesis("config/p5en-training-plan.yaml")
    template = synthesized.template("HyperPodStack")
    topic = synthesized.only("HyperPodStack", "AWS::SNS::Topic")
    assert "KmsMasterKeyId" in topic
    template.has_resource_properties(
        "AWS::SNS::Subscription", {"Protocol": "email", "Endpoint": "ml-platform@example.com"}
    )
    # EventBridge as a service acts for anybody: it publishes by a role of this account only.
    policies = str(
        [
            resource["Properties"]
            for resource in synthesized.resources("HyperPodStack", "AWS::SNS::TopicPolicy")
        ]
    )
    assert "events.amazonaws.com" not in policies
    assert "events.amazonaws.com" not in str(synthesized.only("HyperPodStack", "AWS::KMS::Key")["KeyPolicy"])
    for rule in synthesized.resources("HyperPodStack", "AWS::Events::Rule"):
        assert all("RoleArn" in target for target in rule["Properties"]["Targets"])
    details = [
        rule["Properties"]["EventPattern"]["detail"]
        for rule in synthesized.resources("HyperPodStack", "AWS::Events::Rule")
    ]
    assert {"ClusterName": ["p5en-plan-hyperpod"]} in details
    # Events of level Info, such as each node that starts, are no e-mail.
    levels = ["Warn", "Error"]
    assert {"EventDetails": {"ClusterName": ["p5en-plan-hyperpod"], "EventLevel": levels}} in details
    template.has_resource_properties("AWS::KMS::Key", {"EnableKeyRotation": True})


def test_sessions_land_as_ubuntu_in_a_document_of_this_deployment(default_synthesis: Synthesis) -> None:
    document = default_synthesis.only("HyperPodStack", "AWS::SSM::Document")
    assert document["Name"] == "trainforge-demo-hyperpod-ubuntu"
    assert document["DocumentType"] == "Session"
    inputs = document["Content"]["inputs"]
    assert inputs["runAsEnabled"] is True
    assert inputs["runAsDefaultUser"] == "ubuntu"


@pytest.mark.parametrize("instance_type", instance_types())
def test_every_type_makes_a_group(instance_type: str) -> None:
    group = group_of(pool(instance_type=instance_type, interface_type="efa-only"))
    assert group["InstanceType"] == f"ml.{instance_type}"


def test_a_source_that_hyperpod_has_not_never_becomes_on_demand(synthesized: Any) -> None:
    """The check stops it before: silence here would buy the wrong thing with real money."""
    with pytest.raises(AssertionError):
        synthesized(
            "name: test\nregion: us-west-2\navailability_zones: [us-west-2a]\n"
            "pools: {gpu: {instance_type: p5.48xlarge, nodes: 1, "
            "capacity: {source: capacity-block, reservation_id: cr-0123456789abcdef0}}}\n"
            "hyperpod: {pools: [gpu]}\n"
        )
    with pytest.raises(AssertionError):
        group_of(pool(capacity=CapacityBlock("cr-0123456789abcdef0")))


def test_the_topic_refuses_plain_text(default_synthesis: Synthesis) -> None:
    policy = default_synthesis.only("HyperPodStack", "AWS::SNS::TopicPolicy")["PolicyDocument"]
    [denied] = [statement for statement in policy["Statement"] if statement["Effect"] == "Deny"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert denied["Action"] == "sns:Publish"
    assert denied["Principal"] == "*"
