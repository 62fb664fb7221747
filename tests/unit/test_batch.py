"""The Batch stack: environments and queues, roles, job definitions, notifications, fifty pools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.batch import host_image
from catalog.instances import INSTANCES, instance
from catalog.interfaces import has_spare, network_interfaces
from catalog.pool import CapacityBlock, OnDemand, Pool
from tests.api_model import api_problems
from tests.synthesis import ROOT, Synthesis, synthesize
from tests.unit import batch_sample
from trainforge.batch.job_definition import in_cloudformation
from trainforge.batch.queue import HostDefaults, compute_resources, time_limits
from workloads.render.batch import batch as rendered

STACK = "BatchStack"
CONFIGURATION = "config/batch.yaml"
BLOCK = "config/batch-p5-capacity-block.yaml"
HOSTS = HostDefaults(
    "sg-0123456789abcdef0",
    "arn:aws:iam::111122223333:instance-profile/hosts",
    "user data",
    {host_image(instance("trn1.32xlarge")).parameter: "ami-0123456789abcdef0"},  # type: ignore[union-attr]
)
TEMPLATE = {"LaunchTemplateId": "lt-0123456789abcdef0", "Version": "3"}


@pytest.fixture(scope="module")
def stack(synthesis: Callable[[str], Synthesis]) -> Synthesis:
    return synthesis(CONFIGURATION)


def by_type(synthesized: Synthesis, kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in synthesized.templates[STACK]["Resources"].items()
        if resource["Type"] == kind
    }


def one(found: dict[str, dict[str, Any]], prefix: str) -> dict[str, Any]:
    [properties] = [value for name, value in found.items() if name.startswith(prefix)]
    return properties


def api_spelling(value: Any) -> Any:
    """Return compute resources as CreateComputeEnvironment takes them."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: api_spelling(member) for key, member in value.items()}
    return [api_spelling(member) for member in value] if isinstance(value, list) else value


WITHOUT_IMAGE = [name for name in INSTANCES if host_image(instance(name)) is None]


def test_batch_has_an_image_for_all_but_gpus_beside_arm_processors() -> None:
    arm_gpus = [name for name, facts in INSTANCES.items() if facts.has_gpus and facts.architecture == "arm64"]
    assert arm_gpus == WITHOUT_IMAGE


@pytest.mark.parametrize("name", [name for name in INSTANCES if name not in WITHOUT_IMAGE])
def test_every_type_makes_an_environment_that_batch_takes(name: str) -> None:
    facts = instance(name)
    pool = Pool("p", name, 3, "us-west-2a", OnDemand())
    made = compute_resources(
        pool, HOSTS, min_nodes=1, subnet_id="subnet-0123456789abcdef0", launch_template=TEMPLATE
    )
    request = {
        "computeEnvironmentName": "p",
        "type": "MANAGED",
        "computeResources": api_spelling(made),
    }
    assert api_problems("batch", "CreateComputeEnvironment", request) == ""
    assert (made["MinvCpus"], made["MaxvCpus"]) == (facts.vcpus, 3 * facts.vcpus)
    assert "DesiredvCpus" not in made
    assert made["Type"] == "EC2"
    [image] = made["Ec2Configuration"]
    assert (image["ImageType"] == "ECS_AL2023_NVIDIA") == facts.has_gpus
    assert ("ImageIdOverride" in image) == facts.has_neuron


@pytest.mark.parametrize("name", [name for name, facts in INSTANCES.items() if facts.supports_efa])
def test_a_jobs_interface_finds_room_on_the_first_card(name: str) -> None:
    facts = instance(name)
    card = facts.network_cards[0]
    ports = network_interfaces(facts, spare=True)
    assert sum(port.interface_type != "interface" for port in ports) == facts.efa_interfaces
    if card.max_interfaces and card.max_interfaces > 1:
        assert sum(port.network_card_index == card.index for port in ports) < card.max_interfaces
        assert has_spare(facts)
    # Only what it must change does it change.
    if sum(p.network_card_index == card.index for p in network_interfaces(facts)) < (
        card.max_interfaces or 99
    ):
        assert ports == network_interfaces(facts)


def test_hosts_have_the_tags_of_the_deployment_and_their_pool(tmp_path: Path) -> None:
    """Batch gives instances none of those that the environment has (botocore: batch ComputeResource)."""
    file = tmp_path / "tagged.yaml"
    text = (ROOT / CONFIGURATION).read_text(encoding="utf-8")
    file.write_text(f"tags: {{team: vision}}\n{text}", encoding="utf-8")
    tagged = synthesize(file, tmp_path / "out")
    for pool in ("gpu", "cpu"):
        made = one(by_type(tagged, "AWS::Batch::ComputeEnvironment"), f"Pool{pool.capitalize()}")
        assert made["ComputeResources"]["Tags"] == {
            "Name": "batch-batch",
            "team": "vision",
            "trainforge:deployment": "batch",
            "trainforge:pool": pool,
        }


def test_an_environment_is_replaced_and_neither_it_nor_its_queue_has_a_name(stack: Synthesis) -> None:
    environments = by_type(stack, "AWS::Batch::ComputeEnvironment")
    assert len(environments) == 2
    for properties in environments.values():
        assert properties["ReplaceComputeEnvironment"] is True
        assert "ComputeEnvironmentName" not in properties
        # Batch's own role: what replaces another needs no role that we would have to keep.
        assert "ServiceRole" not in properties
        # Only with an update of the infrastructure, which this is not.
        assert "UpdatePolicy" not in properties
    for properties in by_type(stack, "AWS::Batch::JobQueue").values():
        assert "JobQueueName" not in properties
    for kind in ("AWS::EC2::LaunchTemplate", "AWS::EC2::PlacementGroup"):
        for properties in by_type(stack, kind).values():
            assert not {"LaunchTemplateName", "GroupName"} & set(properties)


def test_without_interfaces_the_group_is_named_and_nodes_are_in_their_pools_zone(
    stack: Synthesis,
) -> None:
    """Batch takes one of the two only (aws/aws-cdk#21577)."""
    templates = by_type(stack, "AWS::EC2::LaunchTemplate")
    environments = by_type(stack, "AWS::Batch::ComputeEnvironment")
    assert len(environments) > 1
    for name, properties in environments.items():
        resources = properties["ComputeResources"]
        data = templates[resources["LaunchTemplate"]["LaunchTemplateId"]["Ref"]]["LaunchTemplateData"]
        assert ("SecurityGroupIds" in resources) != ("NetworkInterfaces" in data), name
        [subnet] = resources["Subnets"]
        second = resources["InstanceTypes"] == ["p5.48xlarge"]
        assert ("PrivateSubnet2" in subnet["Fn::ImportValue"]) == second


def test_hosts_keep_a_place_on_the_first_card_for_the_interface_of_a_job(stack: Synthesis) -> None:
    """Batch attaches an interface for each job's containers; the first card of p5 holds two."""
    [data] = [
        found["LaunchTemplateData"]
        for found in by_type(stack, "AWS::EC2::LaunchTemplate").values()
        if "NetworkInterfaces" in found["LaunchTemplateData"]
    ]
    first = [port for port in data["NetworkInterfaces"] if port["NetworkCardIndex"] == 0]
    assert len(first) < (instance("p5.48xlarge").network_cards[0].max_interfaces or 0)
    assert [port["InterfaceType"] for port in first] == ["efa"]


def test_ranks_of_efa_jobs_communicate_in_the_vpcs_default_group(stack: Synthesis, tmp_path: Path) -> None:
    """The group has only these rules; they allow TCP only, unlike the default rules, which the network removes."""
    among = stack.only(STACK, "AWS::EC2::SecurityGroupIngress")
    out = stack.only(STACK, "AWS::EC2::SecurityGroupEgress")
    assert "DefaultSecurityGroup" in among["GroupId"]["Fn::ImportValue"]
    assert among["SourceSecurityGroupId"] == among["GroupId"] == out["GroupId"]
    assert {rule["IpProtocol"] for rule in (among, out)} == {"tcp"}
    plain = (ROOT / CONFIGURATION).read_text(encoding="utf-8")
    assert plain.count("p5.48xlarge") == 1
    path = tmp_path / "plain.yaml"
    without = plain.replace("p5.48xlarge", "c6i.4xlarge").split("workloads:")[0]
    path.write_text(without.replace("{fsdp: 10}", "{}"), encoding="utf-8")
    assert synthesize(path, tmp_path / "out").resources(STACK, "AWS::EC2::SecurityGroupIngress") == []


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """The example in a network without internet access, with a node of each pool that always runs."""
    folder = tmp_path_factory.mktemp("isolated")
    text = (ROOT / CONFIGURATION).read_text(encoding="utf-8")
    kept = text.replace("  pools: [gpu, cpu]\n", "  pools: [gpu, cpu]\n  min_nodes: {gpu: 1, cpu: 1}\n")
    assert kept != text
    (folder / "isolated.yaml").write_text(f"network: {{isolated: true}}\n{kept}", encoding="utf-8")
    return synthesize(folder / "isolated.yaml", folder / "out")


def test_containers_of_efa_jobs_reach_the_endpoints_of_an_isolated_network(isolated: Synthesis) -> None:
    """Nodes are in the group of EFA, containers in the VPC's default one: endpoints let in both."""
    rules = [
        {**rule, "GroupId": name}
        for name, resource in isolated.templates["NetworkStack"]["Resources"].items()
        if resource["Type"] == "AWS::EC2::SecurityGroup"
        for rule in resource["Properties"].get("SecurityGroupIngress", ())
    ]
    rules += [
        resource["Properties"]
        for resource in isolated.resources("NetworkStack", "AWS::EC2::SecurityGroupIngress")
    ]
    sources = {
        json.dumps(rule["SourceSecurityGroupId"])
        for rule in rules
        if "EndpointSecurityGroup" in json.dumps(rule["GroupId"])
        and rule["FromPort"] == rule["ToPort"] == 443
    }
    assert len(sources) == 2
    assert any("DefaultSecurityGroup" in source for source in sources)


def test_nodes_that_always_run_come_after_the_policies_of_their_role(
    isolated: Synthesis, stack: Synthesis
) -> None:
    """Such hosts start with the stack: without their policies they would not join their cluster."""

    def needs(synthesized: Synthesis) -> list[set[str]]:
        found = synthesized.resources(STACK, "AWS::Batch::ComputeEnvironment")
        return [set(resource.get("DependsOn", ())) for resource in found]

    policies = {
        name
        for name, resource in isolated.templates[STACK]["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy" and name.startswith("HostRole")
    }
    assert policies
    assert len(needs(isolated)) == 2
    assert all(policies <= dependencies for dependencies in needs(isolated))
    assert not any(policies & dependencies for dependencies in needs(stack))


def test_hosts_tag_themselves_when_they_register_and_at_no_other_time(stack: Synthesis) -> None:
    """Tags on clusters and hosts of others decide what IAM allows there."""
    statements = [
        statement
        for resource in stack.resources(STACK, "AWS::IAM::Policy")
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]
        if "ecs:TagResource" in statement["Action"]
    ]
    assert [statement["Condition"] for statement in statements] == [
        {"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}}
    ]


def test_a_placement_group_is_for_efa_on_demand_and_not_for_a_block(
    stack: Synthesis, synthesis: Callable[[str], Synthesis]
) -> None:
    found = by_type(stack, "AWS::Batch::ComputeEnvironment")
    assert "PlacementGroup" in one(found, "PoolGpu")["ComputeResources"]
    assert "PlacementGroup" not in one(found, "PoolCpu")["ComputeResources"]
    block = synthesis(BLOCK)
    assert block.resources(STACK, "AWS::EC2::PlacementGroup") == []
    data = block.only(STACK, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert data["InstanceMarketOptions"] == {"MarketType": "capacity-block"}
    target = data["CapacityReservationSpecification"]["CapacityReservationTarget"]
    assert target == {"CapacityReservationId": "cr-0123456789abcdef0"}
    # A block is asked for as capacity of EC2, never as Spot.
    assert block.only(STACK, "AWS::Batch::ComputeEnvironment")["ComputeResources"]["Type"] == "EC2"


def test_a_queue_without_shares_has_no_policy(
    synthesis: Callable[[str], Synthesis], stack: Synthesis
) -> None:
    assert "SchedulingPolicyArn" not in synthesis(BLOCK).only(STACK, "AWS::Batch::JobQueue")
    assert all("SchedulingPolicyArn" in queue for queue in by_type(stack, "AWS::Batch::JobQueue").values())
    policy = stack.only(STACK, "AWS::Batch::SchedulingPolicy")["FairsharePolicy"]
    assert policy["ShareDistribution"][0] == {"ShareIdentifier": "production", "WeightFactor": 0.5}
    assert (
        api_problems(
            "batch", "CreateSchedulingPolicy", {"name": "p", "fairsharePolicy": api_spelling(policy)}
        )
        == ""
    )


def test_limits_that_are_not_set_are_none() -> None:
    assert time_limits({"A": None, "B": 10}) == [
        {"Action": "CANCEL", "State": "RUNNABLE", "Reason": "B", "MaxTimeSeconds": 600}
    ]


def test_a_definition_is_the_renderers_in_cloudformations_spelling(stack: Synthesis) -> None:
    found = by_type(stack, "AWS::Batch::JobDefinition")
    flagship = one(found, "JobFsdp")
    assert flagship["JobDefinitionName"] == "batch-fsdp-llama3-1-8b-4xgpu"
    [nodes] = flagship["NodeProperties"]["NodeRangeProperties"]
    assert nodes["TargetNodes"] == "0:"
    container = nodes["Container"]
    assert container["LogConfiguration"]["Options"]["awslogs-stream-prefix"] == "fsdp-llama3-1-8b"
    assert len(container["LinuxParameters"]["Devices"]) == instance("p5.48xlarge").efa_interfaces
    assert "JobRole" in container["JobRoleArn"]["Fn::GetAtt"][0]
    assert "ExecutionRole" in container["ExecutionRoleArn"]["Fn::GetAtt"][0]
    assert flagship["Tags"]["trainforge:workload"] == "fsdp"
    assert flagship["Tags"]["trainforge:deployment"] == "batch"
    assert flagship["RetryStrategy"]["EvaluateOnExit"][-1] == {"OnReason": "*", "Action": "EXIT"}


def test_spelling_leaves_the_users_own_keys_alone() -> None:
    run = batch_sample.run_on(batch_sample.GPU_TYPE)
    request = json.loads(rendered(run, batch_sample.info()))
    made = in_cloudformation(request)
    assert made["Tags"] == request["tags"]
    [nodes] = made["NodeProperties"]["NodeRangeProperties"]
    options = nodes["Container"]["LogConfiguration"]["Options"]
    assert options["awslogs-group"] == "/trainforge/demo/batch"
    assert nodes["Container"]["Ulimits"][0]["SoftLimit"] == -1


def statements(synthesized: Synthesis, role: str) -> list[dict[str, Any]]:
    found = [
        policy["PolicyDocument"]["Statement"]
        for policy in by_type(synthesized, "AWS::IAM::Policy").values()
        if any(role in json.dumps(attached) for attached in policy["Roles"])
    ]
    return [statement for each in found for statement in each]


def actions(found: list[dict[str, Any]]) -> set[str]:
    listed = (item["Action"] for item in found)
    return {action for each in listed for action in ([each] if isinstance(each, str) else each)}


def test_programs_may_use_the_data_and_nothing_else(stack: Synthesis) -> None:
    assert statements(stack, "JobRole") == []
    role = one(by_type(stack, "AWS::IAM::Role"), "JobRole")
    [access] = role["ManagedPolicyArns"]
    assert "NodeAccess" in access["Fn::ImportValue"]


def test_the_execution_role_pulls_these_images_and_writes_this_log(stack: Synthesis) -> None:
    found = statements(stack, "ExecutionRole")
    assert actions(found) == {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "ecr:BatchCheckLayerAvailability",
        "ecr:GetDownloadUrlForLayer",
        "ecr:BatchGetImage",
        "ecr:GetAuthorizationToken",
    }
    everywhere = [item["Action"] for item in found if item["Resource"] == "*"]
    assert everywhere == ["ecr:GetAuthorizationToken"]


def test_a_secret_is_read_by_its_arn_and_written_nowhere(tmp_path: Path) -> None:
    arn = "arn:aws:secretsmanager:us-west-2:111122223333:secret:huggingface-AbCdEf"
    text = (ROOT / CONFIGURATION).read_text(encoding="utf-8")
    path = tmp_path / "secret.yaml"
    path.write_text(
        # With the key of a JSON value, which ECS takes and IAM does not know.
        text.replace("  log_days: 90", f"  log_days: 90\n  secrets: {{huggingface: '{arn}:token::'}}"),
        "utf-8",
    )
    found = statements(synthesize(path, tmp_path / "out"), "ExecutionRole")
    [reading] = [item for item in found if item["Action"] == "secretsmanager:GetSecretValue"]
    assert reading["Resource"] == arn


def test_hosts_may_not_pull_or_read_anything(stack: Synthesis) -> None:
    found = actions(statements(stack, "HostRole"))
    assert not [action for action in found if action.startswith(("ecr:", "s3:", "secretsmanager:"))]
    assert "ecs:RegisterContainerInstance" in found


def test_logs_are_kept_for_the_days_that_are_asked_for(
    stack: Synthesis, synthesis: Callable[[str], Synthesis]
) -> None:
    group = stack.templates[STACK]["Resources"]["Logs6819BB44"]
    assert group["Properties"]["RetentionInDays"] == 90
    assert group["DeletionPolicy"] == "Delete"
    assert synthesis(BLOCK).templates[STACK]["Resources"]["Logs6819BB44"]["DeletionPolicy"] == "Retain"


def test_fifty_pools_stay_below_the_limits(tmp_path: Path) -> None:
    pools = {f"pool{number}": {"instance_type": "p5.48xlarge", "nodes": 2} for number in range(50)}
    settings = {
        "name": "many",
        "region": "us-west-2",
        "availability_zones": ["us-west-2a"],
        "network": {"secondary_cidrs": ["100.64.0.0/16"]},
        "pools": pools,
        "storage": {"lustre": {}},
        "batch": {"pools": list(pools), "fair_share": {"weights": {"a": 1}}},
    }
    path = tmp_path / "many.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    template = synthesize(path, tmp_path / "out").templates[STACK]
    assert len(template["Resources"]) < 500
    assert len(json.dumps(template)) < 1_000_000
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Events::Rule":
            # EventBridge takes 2048 characters; an ARN of a queue here has at most this many.
            arn = "arn:aws:batch:us-west-2:111122223333:job-queue/" + "x" * 64
            filled = json.dumps(resource["Properties"]["EventPattern"]["detail"])
            queues = resource["Properties"]["EventPattern"]["detail"]["jobQueue"]
            assert len(filled) - len(json.dumps(queues)) + len(json.dumps([arn] * len(queues))) < 2048


def test_a_block_asks_for_no_more_than_its_pool() -> None:
    pool = Pool("p", "p5.48xlarge", 4, "us-west-2a", CapacityBlock("cr-0123456789abcdef0"))
    made = compute_resources(pool, HOSTS, min_nodes=0, subnet_id="subnet-1", launch_template=TEMPLATE)
    assert made["MaxvCpus"] == 4 * 192
    assert made["MinvCpus"] == 0
