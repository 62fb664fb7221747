"""AWS Batch, deployed by the real CDK CLI: resources, jobs, updates in place and by replacement, deletion."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.instances import instance
from emulator.inventory import left_over
from emulator.resources.resource import Kind
from tests.deploy.deployment import Deployment

STACK = "BatchStack"
CONFIGURATION = """
name: mnp
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {instance_type: p5.48xlarge, nodes: 4, availability_zone: us-west-2b}
  neuron: {instance_type: trn1.32xlarge, nodes: 2}
  cpu: {instance_type: c6i.4xlarge, nodes: 8, volume_gib: 100}
storage:
  lustre: {capacity_gib: 1200}
batch:
  pools: [gpu, neuron, cpu]
  min_nodes: {cpu: 1}
  fair_share:
    weights: {production: 0.5, research: 1}
    priorities: {cpu-ddp: 7}
  runnable_limits: {capacity_minutes: 60}
  health: {action: terminate}
workloads:
  - {workload: cpu-ddp, preset: tiny, pool: cpu, nodes: 2, clusters: [batch]}
"""
NEURON_IMAGE = "ami-1e749f67"


def info(deployed: Deployment) -> ClusterInfo:
    name = ClusterInfo.parameter_name("mnp", "batch")
    return ClusterInfo.from_json(deployed.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])


def environments(deployed: Deployment) -> dict[str, dict[str, Any]]:
    """Return the resources by pool."""
    client = deployed.client("batch")
    found = {}
    for pool, arn in info(deployed).queues.items():
        [queue] = client.describe_job_queues(jobQueues=[arn])["jobQueues"]
        [order] = queue["computeEnvironmentOrder"]
        asked = client.describe_compute_environments(computeEnvironments=[order["computeEnvironment"]])
        [found[pool]] = asked["computeEnvironments"]
    return found


def rules(deployed: Deployment) -> dict[str, dict[str, Any]]:
    """Return the patterns of the stack's rules by name."""
    events = deployed.client("events")
    return {
        name: json.loads(events.describe_rule(Name=name)["EventPattern"])
        for name in deployed.ids("batch", "AWS::Events::Rule")
    }


def test_the_stacks_are_complete_and_nothing_is_only_recorded(deployed: Deployment) -> None:
    for suffix in ("network", "storage", "batch"):
        stack = deployed.stack(suffix)
        assert stack.status == "CREATE_COMPLETE"
        assert stack.count(Kind.RECORDED) == 0


def test_a_pool_starts_at_nothing_and_ends_at_all_its_nodes(deployed: Deployment) -> None:
    bounds = {
        pool: (found["computeResources"]["minvCpus"], found["computeResources"]["maxvCpus"])
        for pool, found in environments(deployed).items()
    }
    assert bounds == {"gpu": (0, 4 * 192), "neuron": (0, 2 * 128), "cpu": (16, 8 * 16)}


def test_hosts_boot_from_the_image_of_their_accelerators(deployed: Deployment) -> None:
    images = {
        pool: found["computeResources"]["ec2Configuration"][0]
        for pool, found in environments(deployed).items()
    }
    assert images == {
        "gpu": {"imageType": "ECS_AL2023_NVIDIA"},
        "neuron": {"imageType": "ECS_AL2023", "imageIdOverride": NEURON_IMAGE},
        "cpu": {"imageType": "ECS_AL2023"},
    }


def test_user_data_of_hosts_names_the_mounts(deployed: Deployment) -> None:
    resources = environments(deployed)["gpu"]["computeResources"]
    template = resources["launchTemplate"]
    [version] = deployed.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=template["launchTemplateId"], Versions=[template["version"]]
    )["LaunchTemplateVersions"]
    data = version["LaunchTemplateData"]
    text = base64.b64decode(data["UserData"]).decode()
    lustre = deployed.file_system("LUSTRE")
    assert f"LUSTRE_DNS={lustre['DNSName']}" in text
    assert f"LUSTRE_NAME={lustre['LustreConfiguration']['MountName']}" in text
    ports = [(port["NetworkCardIndex"], port["DeviceIndex"]) for port in data["NetworkInterfaces"]]
    # Room on card 0 for the interface that ECS attaches for a job's container.
    assert [device for card, device in ports if card == 0] == [0]
    assert len(ports) == instance("p5.48xlarge").efa_interfaces


def test_a_queue_has_shares_and_cancels_what_cannot_start(deployed: Deployment) -> None:
    client = deployed.client("batch")
    [queue] = client.describe_job_queues(jobQueues=[info(deployed).queues["gpu"]])["jobQueues"]
    limits = {limit["reason"]: limit["maxTimeSeconds"] for limit in queue["jobStateTimeLimitActions"]}
    assert limits == {
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": 3600,
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 600,
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 600,
    }
    [policy] = client.describe_scheduling_policies(arns=[queue["schedulingPolicyArn"]])["schedulingPolicies"]
    shares = policy["fairsharePolicy"]["shareDistribution"]
    assert {share["shareIdentifier"]: share["weightFactor"] for share in shares} == {
        "production": 0.5,
        "research": 1,
    }


def test_the_definition_runs_the_image_in_the_roles_of_jobs(deployed: Deployment) -> None:
    [definition] = deployed.client("batch").describe_job_definitions(
        jobDefinitionName="mnp-cpu-ddp-tiny-2xcpu", status="ACTIVE"
    )["jobDefinitions"]
    assert definition["type"] == "multinode"
    where = info(deployed)
    [image] = where.images.values()
    assert image.partition("/")[2].partition(":")[0] in deployed.ids("batch", "AWS::ECR::Repository")
    roles = deployed.ids("batch", "AWS::IAM::Role")
    assert {purpose: arn.rsplit("/", 1)[-1] in roles for purpose, arn in where.roles.items()} == {
        "job": True,
        "execution": True,
        "node": True,
    }
    assert where.log_group in deployed.ids("batch", "AWS::Logs::LogGroup")
    assert where.shares == ("production", "research")
    assert where.priorities == {"cpu-ddp": 7}


def test_the_dashboard_shows_existing_resources(deployed: Deployment) -> None:
    name = deployed.stack("batch").outputs["DashboardName"]
    body = json.loads(deployed.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
    text = json.dumps(body)
    assert info(deployed).log_group in text
    counted = [name for name, pattern in rules(deployed).items() if pattern["source"] == ["aws.batch"]]
    assert counted
    for rule in counted:
        assert rule in text


def test_failed_jobs_and_blocked_queues_are_notified(deployed: Deployment) -> None:
    patterns = [pattern for pattern in rules(deployed).values() if pattern["source"] == ["aws.batch"]]
    assert {(pattern["detail-type"][0], pattern["detail"]["status"][0]) for pattern in patterns} == {
        ("Batch Job State Change", "FAILED"),
        ("Batch Job Queue Blocked", "RUNNABLE"),
    }
    for pattern in patterns:
        assert set(pattern["detail"]["jobQueue"]) == set(info(deployed).queues.values())


def test_hosts_that_a_job_s_checks_refuse_are_ended_by_the_tag_that_they_have(deployed: Deployment) -> None:
    [rule] = [name for name, pattern in rules(deployed).items() if pattern["source"] == ["aws.ecs"]]
    [target] = deployed.client("events").list_targets_by_rule(Rule=rule)["Targets"]
    told = deployed.client("lambda").get_function_configuration(FunctionName=target["Arn"])["Environment"][
        "Variables"
    ]
    assert told["TOPIC_ARN"] == deployed.stack("batch").outputs["NotificationTopic"]
    for environment in environments(deployed).values():
        assert environment["computeResources"]["tags"][told["TAG_KEY"]] == told["TAG_VALUE"]


def test_a_second_deployment_changes_nothing(deployed: Deployment) -> None:
    assert deployed.cdk.deploy(STACK).text.count("(no changes)") == 3


def test_bounds_change_in_place_and_a_type_makes_another_environment(
    deployed: Deployment, file: Path
) -> None:
    before = environments(deployed)
    text = CONFIGURATION.replace("nodes: 8", "nodes: 4").replace("min_nodes: {cpu: 1}", "min_nodes: {cpu: 0}")
    file.write_text(text.replace("trn1.32xlarge", "trn1n.32xlarge"), encoding="utf-8")
    deployed.cdk.deploy(STACK)
    after = environments(deployed)
    assert after["cpu"]["computeEnvironmentArn"] == before["cpu"]["computeEnvironmentArn"]
    assert after["cpu"]["computeResources"]["maxvCpus"] == 4 * 16
    assert after["cpu"]["computeResources"]["minvCpus"] == 0
    assert after["neuron"]["computeEnvironmentArn"] != before["neuron"]["computeEnvironmentArn"]
    assert after["neuron"]["computeResources"]["instanceTypes"] == ["trn1n.32xlarge"]
    assert after["gpu"] == before["gpu"]
    remaining = deployed.client("batch").describe_compute_environments()["computeEnvironments"]
    assert {item["computeEnvironmentArn"] for item in remaining} == {
        item["computeEnvironmentArn"] for item in after.values()
    }


def test_nothing_is_left_after_destruction(deployed: Deployment, file: Path) -> None:
    file.write_text(CONFIGURATION, encoding="utf-8")
    deployed.cdk.destroy()
    wrong, excused = left_over(deployed.emulator, deployed.before)
    assert wrong == []
    assert {kind for (kind, _), _ in excused} <= {"KMS key pending deletion"}
