"""The EKS stack: the control plane and who reaches it, node groups, order, and what people and tools get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from catalog.cluster_info import ClusterInfo
from catalog.kubernetes import GPU, NEURON, POOL_LABEL, SHARED_CLAIM
from tests.synthesis import Synthesis
from tests.unit.bare_cluster import bare_cluster
from trainforge.eks.cluster import KubernetesCluster
from trainforge.helm import RepositoryChart

STACK = "EksStack"
EXAMPLE = "config/eks.yaml"
BLOCK = "config/eks-capacity-block.yaml"
PRIVATE = """
name: test
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools: {cpu: {instance_type: c6i.4xlarge, nodes: 2}}
eks: {pools: [cpu]}
"""


def groups(synthesis: Synthesis) -> dict[str, dict[str, Any]]:
    return {
        group["Properties"]["Labels"][POOL_LABEL]: group
        for group in synthesis.resources(STACK, "AWS::EKS::Nodegroup")
    }


def logical_ids(synthesis: Synthesis, kind: str) -> list[str]:
    resources = synthesis.templates[STACK]["Resources"]
    return [logical_id for logical_id, resource in resources.items() if resource["Type"] == kind]


def test_the_control_plane_is_private_encrypted_and_logs_everything(
    synthesized: Callable[[str], Synthesis],
) -> None:
    synthesis = synthesized(PRIVATE)
    cluster = synthesis.only(STACK, "AWS::EKS::Cluster")
    network = cluster["ResourcesVpcConfig"]
    assert (network["EndpointPrivateAccess"], network["EndpointPublicAccess"]) == (True, False)
    assert len(network["SubnetIds"]) == 2
    assert cluster["AccessConfig"] == {
        "AuthenticationMode": "API",
        "BootstrapClusterCreatorAdminPermissions": False,
    }
    assert cluster["BootstrapSelfManagedAddons"] is False
    assert cluster["EncryptionConfig"][0]["Resources"] == ["secrets"]
    logged = {entry["Type"] for entry in cluster["Logging"]["ClusterLogging"]["EnabledTypes"]}
    assert logged == {"api", "audit", "authenticator", "controllerManager", "scheduler"}
    template = synthesis.template(STACK)
    template.has_resource_properties(
        "AWS::KMS::Key", {"Description": Match.string_like_regexp("secrets"), "EnableKeyRotation": True}
    )


def test_logs_go_to_a_group_of_ours_that_goes_with_the_stack(synthesized: Callable[[str], Synthesis]) -> None:
    synthesis = synthesized(PRIVATE)
    [(logical_id, group)] = [
        (logical_id, resource)
        for logical_id, resource in synthesis.templates[STACK]["Resources"].items()
        if resource["Type"] == "AWS::Logs::LogGroup"
        and resource["Properties"].get("LogGroupName") == "/aws/eks/test-eks/cluster"
    ]
    assert group["DeletionPolicy"] == "Delete"
    assert group["Properties"]["RetentionInDays"] == 30
    [cluster] = synthesis.resources(STACK, "AWS::EKS::Cluster")
    assert logical_id in cluster["DependsOn"], "EKS would make it by itself, to be kept for ever"


def test_a_public_endpoint_is_open_to_the_given_ranges_only(synthesis: Callable[[str], Synthesis]) -> None:
    network = synthesis(EXAMPLE).only(STACK, "AWS::EKS::Cluster")["ResourcesVpcConfig"]
    assert (network["EndpointPrivateAccess"], network["EndpointPublicAccess"]) == (True, True)
    assert network["PublicAccessCidrs"] == ["203.0.113.0/24"]


def test_access_is_by_entries_with_a_policy_and_a_scope(synthesis: Callable[[str], Synthesis]) -> None:
    entries = [entry["Properties"] for entry in synthesis(EXAMPLE).resources(STACK, "AWS::EKS::AccessEntry")]
    given = {
        entry["PrincipalArn"].rpartition("/")[2]: entry["AccessPolicies"]
        for entry in entries
        if isinstance(entry["PrincipalArn"], str)
    }
    assert set(given) == {"platform", "researchers"}
    assert "AmazonEKSClusterAdminPolicy" in json.dumps(given["platform"])
    assert given["platform"][0]["AccessScope"] == {"Type": "cluster"}
    assert "AmazonEKSEditPolicy" in json.dumps(given["researchers"])
    assert given["researchers"][0]["AccessScope"] == {"Type": "namespace", "Namespaces": ["training"]}
    groups = {str(entry["PrincipalArn"]): entry.get("KubernetesGroups") for entry in entries}
    assert groups["arn:aws:iam::111122223333:role/researchers"] == ["trainforge-job-editors"]
    assert groups["arn:aws:iam::111122223333:role/platform"] is None


def test_who_is_kept_to_other_namespaces_has_no_rights_on_jobs(
    synthesized: Callable[[str], Synthesis],
) -> None:
    access = """
  access:
    - {principal_arn: "arn:aws:iam::111122223333:role/elsewhere", policy: edit, namespaces: [inference]}
    - {principal_arn: "arn:aws:iam::111122223333:role/everywhere", policy: view}
"""
    text = PRIVATE.replace("eks: {pools: [cpu]}", f"eks:\n  pools: [cpu]{access}")
    groups = {
        str(entry["Properties"]["PrincipalArn"]).rpartition("/")[2]: entry["Properties"].get(
            "KubernetesGroups"
        )
        for entry in synthesized(text).resources(STACK, "AWS::EKS::AccessEntry")
    }
    assert groups["elsewhere"] is None
    assert groups["everywhere"] == ["trainforge-job-viewers"]


def test_nodes_follow_the_control_plane_s_version_and_the_release_that_is_named(
    synthesized: Callable[[str], Synthesis],
) -> None:
    """Without a version a new one of the cluster changes nothing of a group, and its nodes stay behind."""
    named = "{pools: [cpu], kubernetes_version: '1.34', release_version: 1.34.1-20260101}"
    old = synthesized(PRIVATE.replace("{pools: [cpu]}", named))
    made = {pool: group["Properties"] for pool, group in groups(old).items()}
    assert {
        pool: (group["Version"], group["ReleaseVersion"]) for pool, group in made.items()
    } == dict.fromkeys(("system", "cpu"), ("1.34", "1.34.1-20260101"))


def test_in_an_isolated_network_our_objects_are_installed(synthesized: Callable[[str], Synthesis]) -> None:
    """The CDK's framework calls the function that applies them from inside the network, and would never return."""
    isolated = synthesized(
        PRIVATE.replace("{pools: [cpu]}", "{pools: [cpu], software: {jobs: [], devices: {efa: none}}}")
        + "network: {isolated: true}\n"
    )
    framework = [
        function["Properties"]
        for function in isolated.resources(STACK, "AWS::Lambda::Function")
        if function["Properties"].get("Handler") == "framework.onEvent"
    ]
    assert framework
    assert all("VpcConfig" in function for function in framework)
    services = {
        str(endpoint["Properties"]["ServiceName"]).rpartition(".")[2]
        for endpoint in isolated.resources("NetworkStack", "AWS::EC2::VPCEndpoint")
    }
    assert {"lambda", "eks"} <= services


def test_nodes_and_their_volumes_have_the_tags_of_the_deployment_and_their_pool(
    synthesized: Callable[[str], Synthesis],
) -> None:
    """EKS gives nodes none of those that their group has (User Guide, "Tag your resources")."""
    tagged = synthesized(f"tags: {{team: vision}}\n{PRIVATE.lstrip()}")
    found = {}
    for template in tagged.resources(STACK, "AWS::EC2::LaunchTemplate"):
        for one in template["Properties"]["LaunchTemplateData"]["TagSpecifications"]:
            tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
            found[tags.pop("trainforge:pool"), one["ResourceType"]] = tags
    assert set(found) == {(name, kind) for name in ("system", "cpu") for kind in ("instance", "volume")}
    for tags in found.values():
        assert tags == {"Name": "test-eks", "team": "vision", "trainforge:deployment": "test"}


def test_each_pool_is_a_group_in_its_zone_and_the_system_s_nodes_are_spread(
    synthesis: Callable[[str], Synthesis],
) -> None:
    found = groups(synthesis(EXAMPLE))
    assert set(found) == {"system", "gpu", "trainium", "cpu"}
    assert {name: len(group["Properties"]["Subnets"]) for name, group in found.items()} == {
        "system": 2,
        "gpu": 1,
        "trainium": 1,
        "cpu": 1,
    }
    first, second = found["system"]["Properties"]["Subnets"]
    assert found["gpu"]["Properties"]["Subnets"] == [first]
    assert found["trainium"]["Properties"]["Subnets"] == [second]
    kept_off = {
        name: [taint["Key"] for taint in group["Properties"].get("Taints", [])]
        for name, group in found.items()
    }
    assert kept_off == {"system": [], "gpu": [GPU], "trainium": [NEURON], "cpu": []}
    assert found["cpu"]["Properties"]["CapacityType"] == "SPOT"
    for group in found.values():
        assert "NodegroupName" not in group["Properties"], "a named group cannot be replaced"
        assert group["Properties"]["NodeRepairConfig"]["Enabled"] is True


def test_a_capacity_block_has_its_type_in_the_template_and_no_group_around_it(
    synthesis: Callable[[str], Synthesis],
) -> None:
    block = synthesis(BLOCK)
    group = groups(block)["gpu"]["Properties"]
    assert group["CapacityType"] == "CAPACITY_BLOCK"
    assert "InstanceTypes" not in group
    assert group["ScalingConfig"] == {"MinSize": 0, "MaxSize": 4, "DesiredSize": 0}
    assert group["NodeRepairConfig"] == {
        "Enabled": True,
        "MaxUnhealthyNodeThresholdPercentage": 50,
        "MaxParallelNodesRepairedCount": 1,
    }
    (subnet,) = group["Subnets"]
    assert "PrivateSubnet2" in json.dumps(subnet), "the block's zone is the second"
    assert logical_ids(block, "AWS::EC2::PlacementGroup") == []
    templates = block.templates[STACK]["Resources"]
    data = templates[group["LaunchTemplate"]["Id"]["Ref"]]["Properties"]["LaunchTemplateData"]
    assert data["InstanceType"] == "p5.48xlarge"
    assert data["InstanceMarketOptions"] == {"MarketType": "capacity-block"}


def test_nodes_are_in_the_cluster_s_group_and_in_that_of_efa(synthesis: Callable[[str], Synthesis]) -> None:
    templates = synthesis(EXAMPLE).resources(STACK, "AWS::EC2::LaunchTemplate")
    assert len(templates) > 1
    for template in templates:
        data = template["Properties"]["LaunchTemplateData"]
        given = [port["Groups"] for port in data.get("NetworkInterfaces", [])] or [data["SecurityGroupIds"]]
        for listed in given:
            text = json.dumps(listed)
            assert "ClusterSecurityGroupId" in text
            assert "EfaSecurityGroup" in text
        assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_nodes_join_pull_and_take_sessions_and_no_more(synthesized: Callable[[str], Synthesis]) -> None:
    synthesis = synthesized(PRIVATE)
    [role] = [
        resource["Properties"]
        for resource in synthesis.resources(STACK, "AWS::IAM::Role")
        if resource["Properties"].get("Description") == "Nodes of an EKS cluster"
    ]
    managed = sorted(json.dumps(arn).rpartition("/")[2].strip('"]}') for arn in role["ManagedPolicyArns"])
    assert managed == ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy"]
    actions = {
        action
        for policy in synthesis.resources(STACK, "AWS::IAM::Policy")
        if "NodeRole" in json.dumps(policy["Properties"]["Roles"])
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in statement["Action"]
    }
    assert {action.partition(":")[0] for action in actions} == {"ssm", "ssmmessages"}


def test_an_image_that_does_not_build_starts_no_node(synthesis: Callable[[str], Synthesis]) -> None:
    example = synthesis(EXAMPLE)
    builds = [name for name in logical_ids(example, "Custom::CDKContainerImageBuild") if "CpuDdp" in name]
    assert builds
    for name, group in groups(example).items():
        assert name == "system" or set(builds) <= set(group["DependsOn"])


def test_nodes_come_after_the_rights_of_their_role(synthesis: Callable[[str], Synthesis]) -> None:
    """A policy is a resource of its own, and a node that starts before it never joins the cluster."""
    example = synthesis(EXAMPLE)
    resources = example.templates[STACK]["Resources"]
    assert "gpu" in groups(example)
    for group in groups(example).values():
        role = group["Properties"]["NodeRole"]["Fn::GetAtt"][0]
        policies = {
            name
            for name, one in resources.items()
            if one["Type"] == "AWS::IAM::Policy" and {"Ref": role} in one["Properties"]["Roles"]
        }
        assert policies
        assert policies | {role} <= set(group["DependsOn"])


def test_the_cluster_info_is_published_and_reads_back(synthesis: Callable[[str], Synthesis]) -> None:
    [parameter] = [
        one["Properties"]
        for one in synthesis(EXAMPLE).resources(STACK, "AWS::SSM::Parameter")
        if one["Properties"].get("Name")
    ]
    assert parameter["Name"] == ClusterInfo.parameter_name("eks", "eks")
    parts = parameter["Value"]["Fn::Join"][1]
    info = ClusterInfo.from_json("".join(part if isinstance(part, str) else "TOKEN" for part in parts))
    assert (info.cluster, info.cluster_name, info.namespace) == ("eks", "eks-eks", "training")
    assert info.claim == SHARED_CLAIM
    assert info.kubernetes_cluster == "TOKEN"
    assert list(info.images) == ["cpu-ddp"]


def test_nodes_that_cannot_be_started_are_notified(synthesis: Callable[[str], Synthesis]) -> None:
    example = synthesis(EXAMPLE)
    patterns = [rule["Properties"]["EventPattern"] for rule in example.resources(STACK, "AWS::Events::Rule")]
    [pattern] = [pattern for pattern in patterns if pattern["source"] == ["aws.autoscaling"]]
    assert pattern["detail-type"] == ["EC2 Instance Launch Unsuccessful"]
    named = json.dumps(pattern["detail"])
    for group in logical_ids(example, "AWS::EKS::Nodegroup"):
        assert group in named


def test_the_command_for_kubectl_is_an_output(synthesis: Callable[[str], Synthesis]) -> None:
    outputs = synthesis(EXAMPLE).templates[STACK]["Outputs"]
    assert (
        outputs["KubeconfigCommand"]["Value"] == "aws eks update-kubeconfig --name eks-eks --region us-west-2"
    )


def test_network_and_credentials_of_pods_come_before_nodes_and_dns_after(
    synthesis: Callable[[str], Synthesis],
) -> None:
    example = synthesis(EXAMPLE)
    resources = example.templates[STACK]["Resources"]
    add_ons = {
        resource["Properties"]["AddonName"]: logical_id
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::EKS::Addon"
    }
    before = {add_ons[name] for name in ("eks-pod-identity-agent", "vpc-cni", "kube-proxy")}
    for group in groups(example).values():
        assert before <= set(group["DependsOn"])
    assert any(name.startswith("SystemGroup") for name in resources[add_ons["coredns"]]["DependsOn"])
    network = resources[add_ons["vpc-cni"]]["Properties"]
    assert json.loads(network["ConfigurationValues"]) == {
        "env": {"MINIMUM_IP_TARGET": "16", "WARM_IP_TARGET": "1"}
    }
    (association,) = network["PodIdentityAssociations"]
    assert association["ServiceAccount"] == "aws-node"
    role = resources[association["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
    assert "AmazonEKS_CNI_Policy" in json.dumps(role["ManagedPolicyArns"])
    assert "pods.eks.amazonaws.com" in json.dumps(role["AssumeRolePolicyDocument"])


# The seam for what runs on a cluster: add-ons, charts, manifests.


@pytest.fixture
def bare(tmp_path: Path) -> tuple[cdk.Stack, KubernetesCluster]:
    return bare_cluster(tmp_path)


def node_group(stack: cdk.Stack, cluster: KubernetesCluster) -> None:
    from catalog.pool import OnDemand, Pool
    from trainforge.eks.node_group import NodeGroup
    from trainforge.eks.node_role import NodeRole

    nodes = NodeGroup(
        stack,
        "System",
        cluster=cluster,
        pool=Pool("system", "m6i.xlarge", 2, "us-west-2a", OnDemand()),
        subnets=cluster.subnets,
        role=NodeRole(stack, "NodeRole"),
    )
    cluster.add_system_nodes(nodes)


def depends(template: Template, kind: str) -> dict[str, list[str]]:
    return {
        logical_id: resource.get("DependsOn", [])
        for logical_id, resource in template.find_resources(kind).items()
    }


def test_add_ons_come_before_nodes_or_after_those_that_carry_them(
    bare: tuple[cdk.Stack, KubernetesCluster],
) -> None:
    stack, cluster = bare
    cluster.add_on("coredns")
    node_group(stack, cluster)
    role = cluster.pod_role("NetworkRole", description="VPC CNI")
    cluster.add_on(
        "vpc-cni", before_nodes=True, service_account="aws-node", role=role, configuration='{"env": {}}'
    )
    template = Template.from_stack(stack)
    ((group, before),) = depends(template, "AWS::EKS::Nodegroup").items()
    add_ons = depends(template, "AWS::EKS::Addon")
    network = next(name for name in add_ons if "VpcCni" in name)
    dns = next(name for name in add_ons if "Coredns" in name)
    assert network in before, "entered after the nodes, and still before them"
    assert group in add_ons[dns]
    assert group not in add_ons[network]
    template.has_resource_properties(
        "AWS::EKS::Addon",
        {
            "AddonName": "vpc-cni",
            "ResolveConflicts": "OVERWRITE",
            "PodIdentityAssociations": [{"ServiceAccount": "aws-node", "RoleArn": Match.any_value()}],
        },
    )
    template.has_resource_properties(
        "AWS::IAM::Role",
        {
            "Description": "VPC CNI",
            "AssumeRolePolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Action": ["sts:AssumeRole", "sts:TagSession"],
                                "Principal": {"Service": "pods.eks.amazonaws.com"},
                                "Condition": {
                                    "ArnEquals": {"aws:SourceArn": Match.any_value()},
                                    "StringEquals": {"aws:SourceAccount": Match.any_value()},
                                },
                            }
                        )
                    ]
                )
            },
        },
    )


def test_without_charts_and_manifests_there_is_no_function_and_no_layer(
    bare: tuple[cdk.Stack, KubernetesCluster], tmp_path: Path
) -> None:
    stack, cluster = bare
    node_group(stack, cluster)
    cluster.add_on("coredns")
    Template.from_stack(stack).resource_count_is("AWS::Lambda::LayerVersion", 0)
    assert not list(tmp_path.glob("asset.*.zip")), "layers are archives"


def test_charts_and_manifests_wait_for_nodes_and_access_and_leave_no_logs(
    bare: tuple[cdk.Stack, KubernetesCluster],
) -> None:
    stack, cluster = bare
    node_group(stack, cluster)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "training"}}
    made = cluster.manifest_applier.manifest("Namespace", [namespace])
    cluster.releases.release(
        stack,
        "Kueue",
        RepositoryChart("oci://example.com/kueue", "kueue", "1"),
        release="kueue",
        namespace="kueue-system",
        after=[made],
    )
    template = Template.from_stack(stack)
    (group,) = template.find_resources("AWS::EKS::Nodegroup")
    entries = set(template.find_resources("AWS::EKS::AccessEntry"))
    ((_, manifest),) = depends(template, "Custom::AWSCDK-EKS-KubernetesResource").items()
    ((_, chart),) = depends(template, "Custom::TrainforgeRepositoryChart").items()
    for waiting in (manifest, chart):
        assert group in waiting
        assert len(entries & set(waiting)) == 1
    assert any("Namespace" in name for name in chart)
    for logs in template.find_resources("AWS::Logs::LogGroup").values():
        assert logs["DeletionPolicy"] == "Delete"
        assert logs["Properties"]["RetentionInDays"] == 30
    kubectl = [
        function
        for function in template.find_resources("AWS::Lambda::Function").values()
        if "kubectl" in function["Properties"].get("Description", "")
    ]
    (function,) = kubectl
    assert len(function["Properties"]["VpcConfig"]["SubnetIds"]) == 2
