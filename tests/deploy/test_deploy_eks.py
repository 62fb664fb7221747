"""An EKS cluster, deployed by the real CDK CLI: resources, an update of its nodes, refused changes, deletion."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from catalog.cluster_info import ClusterInfo
from catalog.instances import INSTANCES
from catalog.kubernetes import GPU, POOL_LABEL
from emulator.inventory import left_over
from emulator.resources.resource import Kind
from tests.deploy.deployment import Deployment

STACK = "EksStack"
CONFIGURATION = """
name: k8s
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {instance_type: p5.48xlarge, nodes: 4, availability_zone: us-west-2b}
  cpu: {instance_type: c6i.4xlarge, nodes: 2, capacity: {source: spot}}
storage:
  lustre: {capacity_gib: 1200}
notifications: {emails: [team@example.com]}
observability: {}
eks:
  pools: [gpu, cpu]
  health: {action: taint, sweep: {}}
  software:
    jobs: [trainer, training-operator, mpi-operator, kuberay]
    queues: {all: {nodes: {gpu: 4, cpu: 2}}}
  access: [{principal_arn: "arn:aws:iam::111122223333:role/platform", policy: admin, namespaces: [training]}]
"""


def groups(deployed: Deployment) -> dict[str, dict[str, Any]]:
    eks = deployed.client("eks")
    found = [
        eks.describe_nodegroup(clusterName="k8s-eks", nodegroupName=name)["nodegroup"]
        for name in eks.list_nodegroups(clusterName="k8s-eks")["nodegroups"]
    ]
    return {group["labels"][POOL_LABEL]: group for group in found}


def test_the_stacks_are_complete_and_nothing_is_only_recorded(deployed: Deployment) -> None:
    for suffix in ("network", "storage", "eks"):
        stack = deployed.stack(suffix)
        assert stack.status == "CREATE_COMPLETE"
        recorded = [entry.type for entry in stack.resources if entry.kind is Kind.RECORDED]
        # moto has no collectors.
        assert recorded == (["AWS::APS::Scraper"] if suffix == "eks" else [])


def test_the_cluster_and_its_access_entries(deployed: Deployment) -> None:
    eks = deployed.client("eks")
    cluster = eks.describe_cluster(name="k8s-eks")["cluster"]
    assert cluster["status"] == "ACTIVE"
    assert cluster["encryptionConfig"][0]["resources"] == ["secrets"]
    principal = "arn:aws:iam::111122223333:role/platform"
    assert principal in eks.list_access_entries(clusterName="k8s-eks")["accessEntries"]
    (policy,) = eks.list_associated_access_policies(clusterName="k8s-eks", principalArn=principal)[
        "associatedAccessPolicies"
    ]
    assert policy["policyArn"].endswith("cluster-access-policy/AmazonEKSAdminPolicy")
    assert policy["accessScope"] == {"type": "namespace", "namespaces": ["training"]}


def test_node_groups_have_templates_with_the_catalogs_interfaces(deployed: Deployment) -> None:
    found = groups(deployed)
    assert set(found) == {"system", "gpu", "cpu"}
    gpu = found["gpu"]
    assert (gpu["amiType"], gpu["capacityType"]) == ("AL2023_x86_64_NVIDIA", "ON_DEMAND")
    assert gpu["scalingConfig"]["desiredSize"] == 4
    assert gpu["nodeRepairConfig"] == {"enabled": True}
    assert gpu["updateConfig"] == {"maxUnavailable": 1, "updateStrategy": "MINIMAL"}
    assert [taint["key"] for taint in gpu["taints"]] == [GPU]
    ec2 = deployed.client("ec2")
    (template,) = ec2.describe_launch_template_versions(
        LaunchTemplateId=gpu["launchTemplate"]["id"], Versions=["$Latest"]
    )["LaunchTemplateVersions"]
    ports = template["LaunchTemplateData"]["NetworkInterfaces"]
    kinds = [port["InterfaceType"] for port in ports]
    assert kinds.count("efa-only") == INSTANCES["p5.48xlarge"].efa_interfaces
    (subnet,) = ec2.describe_subnets(SubnetIds=gpu["subnets"])["Subnets"]
    assert subnet["AvailabilityZone"] == "us-west-2b"
    groups_of_a_node = set(ports[0]["Groups"])
    cluster = deployed.client("eks").describe_cluster(name="k8s-eks")["cluster"]
    assert cluster["resourcesVpcConfig"]["clusterSecurityGroupId"] in groups_of_a_node
    assert deployed.group("efa_security_group_id")["GroupId"] in groups_of_a_node
    (placement,) = ec2.describe_placement_groups()["PlacementGroups"]
    assert template["LaunchTemplateData"]["Placement"]["GroupName"] == placement["GroupName"]


def test_the_cluster_info_names_the_cluster_as_kubectl_does(deployed: Deployment) -> None:
    parameter = deployed.client("ssm").get_parameter(Name=ClusterInfo.parameter_name("k8s", "eks"))[
        "Parameter"
    ]
    info = ClusterInfo.from_json(parameter["Value"])
    cluster = deployed.client("eks").describe_cluster(name="k8s-eks")["cluster"]
    assert info.kubernetes_cluster == cluster["arn"]
    assert (info.cluster_name, info.claim, info.namespace) == ("k8s-eks", "fsx-claim", "training")


def test_what_runs_on_the_cluster_came_in_its_order(deployed: Deployment) -> None:
    """The emulator refuses an object before its definition or namespace, and a definition with two owners."""
    releases = {
        entry.physical_id
        for entry in deployed.stack("eks").resources
        if entry.type in ("Custom::AWSCDK-EKS-HelmChart", "Custom::TrainforgeRepositoryChart")
    }
    assert releases == {
        "nvidia-device-plugin",
        "aws-efa-k8s-device-plugin",
        "kubeflow-trainer",
        "torch-runtime",
        "training-operator",
        "mpi-operator",
        "kuberay",
        "kueue",
        "training-namespace",
        "dcgm-exporter",
        "trainforge-monitoring",
        "runs-exporter",
        "health-agent",
    }
    eks = deployed.client("eks")
    found = set(eks.list_addons(clusterName="k8s-eks")["addons"])
    assert {"aws-ebs-csi-driver", "aws-fsx-csi-driver", "aws-mountpoint-s3-csi-driver"} <= found


def test_metrics_go_to_the_deployment_s_workspace(deployed: Deployment) -> None:
    [scraper] = [
        entry.properties for entry in deployed.stack("eks").resources if entry.type == "AWS::APS::Scraper"
    ]
    workspace = deployed.stack("observability").outputs["MetricsWorkspace"]
    assert scraper["Destination"]["AmpConfiguration"]["WorkspaceArn"].endswith(f"/{workspace}")
    text = base64.b64decode(scraper["ScrapeConfiguration"]["ConfigurationBlob"]).decode()
    written = yaml.safe_load(text)
    assert written["global"]["external_labels"]["cluster"] == "k8s-eks"
    assert [one["job_name"] for one in written["scrape_configs"]] == [
        "node",
        "kube-state-metrics",
        "efa",
        "dcgm",
        "kueue",
        "runs",
    ]
    add_ons = deployed.client("eks").list_addons(clusterName="k8s-eks")["addons"]
    assert {"prometheus-node-exporter", "kube-state-metrics"} <= set(add_ons)


def test_an_update_changes_nodes_in_place(file: Path, deployed: Deployment) -> None:
    before = groups(deployed)["gpu"]["nodegroupName"]
    smaller = CONFIGURATION.replace("  access:", "  scaling: {gpu: {desired: 0}}\n  access:")
    file.write_text(smaller, encoding="utf-8")
    deployed.cdk.deploy(STACK)
    after = groups(deployed)["gpu"]
    assert after["nodegroupName"] == before
    assert after["scalingConfig"] == {"minSize": 0, "maxSize": 4, "desiredSize": 0}


def test_the_end_leaves_nothing(deployed: Deployment) -> None:
    deployed.cdk.destroy()
    wrong, excused = left_over(deployed.emulator, deployed.before)
    assert wrong == []
    assert {kind for (kind, _), _ in excused} == {"KMS key pending deletion"}
