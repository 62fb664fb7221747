"""HyperPod on EKS, deployed by the real CDK CLI: resources, quotas created, changed, rolled back, deletion."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from catalog.cluster_info import ClusterInfo
from catalog.hyperpod_eks import OBSERVABILITY
from catalog.kubernetes import POOL_LABEL
from emulator.inventory import left_over
from emulator.resources.resource import Kind
from tests.deploy.deployment import Deployment

STACK = "HyperPodEksStack"
NAME = "hp-hyperpod-eks"
CONFIGURATION = """
name: hp
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {instance_type: p5.48xlarge, nodes: 2, availability_zone: us-west-2b}
  small: {instance_type: g5.8xlarge, nodes: 2, capacity: {source: spot}}
storage:
  lustre: {capacity_gib: 1200}
hyperpod_eks:
  pools: [gpu, small]
  access: [{principal_arn: "arn:aws:iam::111122223333:role/platform", policy: admin, namespaces: [hyperpod-training]}]
  health: {action: repair, sweep: {}}
  autoscaling: true
  autoscaled_pools: [small]
  observability: {pod_logs: true}
  taints: {gpu: [{key: nvidia.com/gpu, value: "true"}]}
  task_governance:
    priorities: {production: 100, research: 50}
    teams:
      alpha: {nodes: {gpu: 1}, fair_share_weight: 10}
      beta: {accelerators: {small: 1}, sharing: lend}
"""


def quotas(deployed: Deployment) -> dict[str, dict[str, Any]]:
    """Return each team's quota, by its name."""
    client = deployed.client("sagemaker")
    return {
        summary["Name"]: client.describe_compute_quota(ComputeQuotaId=summary["ComputeQuotaId"])
        for summary in client.list_compute_quotas()["ComputeQuotaSummaries"]
    }


def test_the_stack_is_complete_and_nothing_is_only_recorded(deployed: Deployment) -> None:
    stack = deployed.stack("hyperpod-eks")
    assert stack.status == "CREATE_COMPLETE"
    assert [entry.type for entry in stack.resources if entry.kind is Kind.RECORDED] == []


def test_hyperpod_s_cluster_is_orchestrated_by_the_stack_s_own_eks_cluster(deployed: Deployment) -> None:
    cluster = deployed.client("sagemaker").describe_cluster(ClusterName=NAME)
    kubernetes = deployed.client("eks").describe_cluster(name=NAME)["cluster"]
    assert cluster["Orchestrator"] == {"Eks": {"ClusterArn": kubernetes["arn"]}}
    assert (cluster["NodeProvisioningMode"], cluster["NodeRecovery"]) == ("Continuous", "Automatic")
    assert cluster["AutoScaling"]["Mode"] == "Enable"
    role = deployed.client("iam").get_role(RoleName=cluster["ClusterRole"].rpartition("/")[2])["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "hyperpod.sagemaker.amazonaws.com"}
    groups = {group["InstanceGroupName"]: group for group in cluster["InstanceGroups"]}
    assert set(groups) == {"gpu", "small"}
    assert groups["gpu"]["KubernetesConfig"]["CurrentLabels"] == {POOL_LABEL: "gpu"}
    assert groups["small"]["CapacityRequirements"] == {"Spot": {}}
    assert (groups["gpu"]["CurrentCount"], groups["small"]["CurrentCount"]) == (2, 0)
    group = kubernetes["resourcesVpcConfig"]["clusterSecurityGroupId"]
    assert group in groups["gpu"]["OverrideVpcConfig"]["SecurityGroupIds"]


def test_nodes_find_the_script_that_moves_them_to_the_big_disk(deployed: Deployment) -> None:
    cluster = deployed.client("sagemaker").describe_cluster(ClusterName=NAME)
    hook = cluster["InstanceGroups"][0]["LifeCycleConfig"]
    bucket, _, prefix = hook["SourceS3Uri"].removeprefix("s3://").partition("/")
    body = deployed.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/{hook['OnCreate']}")["Body"].read()
    assert body.startswith(b"#!/bin/bash")


def test_priorities_and_quotas_are_those_of_the_configuration(deployed: Deployment) -> None:
    client = deployed.client("sagemaker")
    (summary,) = client.list_cluster_scheduler_configs()["ClusterSchedulerConfigSummaries"]
    policy = client.describe_cluster_scheduler_config(
        ClusterSchedulerConfigId=summary["ClusterSchedulerConfigId"]
    )
    assert policy["SchedulerConfig"]["PriorityClasses"] == [
        {"Name": "production", "Weight": 100},
        {"Name": "research", "Weight": 50},
    ]
    found = quotas(deployed)
    assert found["alpha-quota"]["ComputeQuotaConfig"]["ComputeQuotaResources"] == [
        {"InstanceType": "ml.p5.48xlarge", "Count": 1}
    ]
    assert found["beta-quota"]["ComputeQuotaConfig"]["ResourceSharingConfig"] == {"Strategy": "Lend"}


def test_the_add_on_writes_to_the_stack_s_own_workspace(deployed: Deployment) -> None:
    outputs = deployed.stack("hyperpod-eks").outputs
    client = deployed.client("amp")
    workspace = client.describe_workspace(workspaceId=outputs["MetricsWorkspace"])["workspace"]
    assert workspace["alias"] == NAME
    add_on = deployed.client("eks").describe_addon(clusterName=NAME, addonName=OBSERVABILITY)["addon"]
    assert json.loads(add_on["configurationValues"])["ampWorkspace"] == {
        "arn": workspace["arn"],
        "prometheusEndpoint": workspace["prometheusEndpoint"].rstrip("/"),
    }
    assert len(add_on["podIdentityAssociations"]) == 1


def test_health_checks_run_from_an_image_that_the_deployment_has(deployed: Deployment) -> None:
    [objects] = [
        entry for entry in deployed.stack("hyperpod-eks").resources if entry.physical_id == "health-agent"
    ]
    images = set(re.findall(r'[^"\\]+/[^"\\]+:[0-9a-f]{64}', json.dumps(objects.properties)))
    assert images
    for image in images:
        repository, _, tag = image.partition("/")[2].partition(":")
        held = deployed.client("ecr").list_images(repositoryName=repository)["imageIds"]
        assert tag in {one["imageTag"] for one in held}


def test_the_cluster_info_names_both_clusters(deployed: Deployment) -> None:
    parameter = deployed.client("ssm").get_parameter(Name=ClusterInfo.parameter_name("hp", "hyperpod_eks"))
    info = ClusterInfo.from_json(parameter["Parameter"]["Value"])
    kubernetes = deployed.client("eks").describe_cluster(name=NAME)["cluster"]
    assert (info.cluster_name, info.kubernetes_cluster) == (NAME, kubernetes["arn"])
    assert info.instance_groups == {"gpu": "gpu", "small": "small"}
    assert info.namespace == "hyperpod-training"


def test_an_update_changes_one_quota_adds_one_and_takes_one_away(file: Path, deployed: Deployment) -> None:
    before = quotas(deployed)["alpha-quota"]["ComputeQuotaId"]
    other = CONFIGURATION.replace("{gpu: 1}, fair_share", "{gpu: 2}, fair_share").replace("beta:", "gamma:")
    file.write_text(other, encoding="utf-8")
    deployed.cdk.deploy(STACK)
    after = quotas(deployed)
    assert set(after) == {"alpha-quota", "gamma-quota"}
    assert after["alpha-quota"]["ComputeQuotaId"] == before
    assert after["alpha-quota"]["ComputeQuotaConfig"]["ComputeQuotaResources"][0]["Count"] == 2


def test_the_end_leaves_nothing(deployed: Deployment) -> None:
    deployed.cdk.destroy()
    wrong, excused = left_over(deployed.emulator, deployed.before)
    assert wrong == []
    assert {kind for (kind, _), _ in excused} == {"KMS key pending deletion"}
