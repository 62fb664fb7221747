"""EKS, placement groups and Prometheus workspaces in the emulator: what they hold, change and refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.formation import Formation, att, ref, resources

CLUSTER = "test-cluster"
ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


def trust(service: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


def subnet(zone: str, cidr: str) -> tuple[str, dict[str, Any]]:
    return "AWS::EC2::Subnet", {"VpcId": ref("Vpc"), "CidrBlock": cidr, "AvailabilityZone": zone}


def example() -> dict[str, Any]:
    """Return a cluster with a node group, an access entry, an add-on and a pod's role."""
    return resources(
        Vpc=("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"}),
        One=subnet("us-west-2a", "10.0.0.0/24"),
        Two=subnet("us-west-2b", "10.0.1.0/24"),
        Role=("AWS::IAM::Role", trust("eks.amazonaws.com")),
        NodeRole=("AWS::IAM::Role", trust("ec2.amazonaws.com")),
        PodRole=("AWS::IAM::Role", trust("pods.eks.amazonaws.com")),
        Cluster=(
            "AWS::EKS::Cluster",
            {
                "Name": CLUSTER,
                "RoleArn": att("Role", "Arn"),
                "ResourcesVpcConfig": {"SubnetIds": [ref("One"), ref("Two")]},
            },
        ),
        Nodes=(
            "AWS::EKS::Nodegroup",
            {
                "ClusterName": ref("Cluster"),
                "NodeRole": att("NodeRole", "Arn"),
                "Subnets": [ref("One")],
                "ScalingConfig": {"MinSize": 0, "DesiredSize": 1, "MaxSize": 2},
            },
        ),
        Person=(
            "AWS::EKS::AccessEntry",
            {
                "ClusterName": ref("Cluster"),
                "PrincipalArn": "arn:aws:iam::111122223333:role/person",
                "AccessPolicies": [{"PolicyArn": VIEW, "AccessScope": {"Type": "cluster"}}],
            },
        ),
        Proxy=("AWS::EKS::Addon", {"ClusterName": ref("Cluster"), "AddonName": "kube-proxy"}),
        Pods=(
            "AWS::EKS::PodIdentityAssociation",
            {
                "ClusterName": ref("Cluster"),
                "Namespace": "kube-system",
                "ServiceAccount": "driver",
                "RoleArn": att("PodRole", "Arn"),
            },
        ),
    )


def test_a_cluster_is_created_with_its_dependent_resources_and_updated(formation: Formation) -> None:
    template = example()
    template["Outputs"] = {"Group": {"Value": att("Cluster", "ClusterSecurityGroupId")}}
    with formation.deployed(template) as name:
        eks = formation.emulator.client("eks")
        found = eks.describe_cluster(name=CLUSTER)["cluster"]
        assert formation.outputs(name)["Group"] == found["resourcesVpcConfig"]["clusterSecurityGroupId"]
        [group] = eks.list_nodegroups(clusterName=CLUSTER)["nodegroups"]
        assert formation.physical_id(name, "Nodes") == f"{CLUSTER}/{group}"
        assert "kube-proxy" in eks.list_addons(clusterName=CLUSTER)["addons"]
        [listed] = eks.list_pod_identity_associations(clusterName=CLUSTER)["associations"]
        association = listed["associationId"]
        assert formation.physical_id(name, "Pods") == listed["associationArn"]
        answer = eks.describe_pod_identity_association(clusterName=CLUSTER, associationId=association)
        pods = answer["association"]
        assert (pods["namespace"], pods["serviceAccount"]) == ("kube-system", "driver")
        changed = copy.deepcopy(template)
        parts = changed["Resources"]
        parts["Nodes"]["Properties"]["ScalingConfig"]["DesiredSize"] = 2
        parts["Person"]["Properties"]["AccessPolicies"][0]["PolicyArn"] = ADMIN
        assert formation.update(name, changed) == "UPDATE_COMPLETE", formation.reasons(name)
        assert eks.list_nodegroups(clusterName=CLUSTER)["nodegroups"] == [group]
        held = eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName=group)["nodegroup"]
        assert held["scalingConfig"]["desiredSize"] == 2
        nodes = parts["Nodes"]["Properties"]
        nodes |= {"Version": "1.34", "ReleaseVersion": "1.34.2-20260101", "ForceUpdateEnabled": True}
        assert formation.update(name, changed) == "UPDATE_COMPLETE", formation.reasons(name)
        held = eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName=group)["nodegroup"]
        assert (held["version"], held["releaseVersion"]) == ("1.34", "1.34.2-20260101")
        for release, desired, reason in (
            ("1.34.2-20260102", 1, "cannot be combined with other updates"),
            ("1.34.1-20251201", 2, "to an earlier Kubernetes version or AMI version"),
        ):
            refused = copy.deepcopy(changed)
            refused["Resources"]["Nodes"]["Properties"] |= {
                "ReleaseVersion": release,
                "ScalingConfig": {"MinSize": 0, "DesiredSize": desired, "MaxSize": 2},
            }
            assert formation.update(name, refused) == "UPDATE_ROLLBACK_COMPLETE"
            assert reason in formation.reasons(name)
        person = parts["Person"]["Properties"]["PrincipalArn"]
        policies = eks.list_associated_access_policies(clusterName=CLUSTER, principalArn=person)
        assert [item["policyArn"] for item in policies["associatedAccessPolicies"]] == [ADMIN]
    assert CLUSTER not in eks.list_clusters()["clusters"]


def test_a_cluster_in_one_zone_is_refused_and_nothing_is_left(formation: Formation) -> None:
    template = example()
    template["Resources"]["Two"]["Properties"]["AvailabilityZone"] = "us-west-2a"
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "at least two different AZs" in formation.reasons(name)
    assert formation.emulator.client("eks").list_clusters()["clusters"] == []


def test_a_placement_group_is_there_until_its_stack_goes(formation: Formation) -> None:
    template = resources(Near=("AWS::EC2::PlacementGroup", {"Strategy": "cluster"}))
    with formation.deployed(template) as name:
        group = formation.physical_id(name, "Near")
        ec2 = formation.emulator.client("ec2")
        [found] = ec2.describe_placement_groups(GroupNames=[group])["PlacementGroups"]
        assert found["Strategy"] == "cluster"
    with pytest.raises(ClientError, match="is unknown"):
        ec2.describe_placement_groups(GroupNames=[group])


def test_a_workspace_keeps_its_endpoint_when_its_alias_changes(formation: Formation) -> None:
    template = resources(Metrics=("AWS::APS::Workspace", {"Alias": "before"}))
    template["Outputs"] = {"Url": {"Value": att("Metrics", "PrometheusEndpoint")}}
    with formation.deployed(template) as name:
        before, amp = formation.outputs(name)["Url"], formation.emulator.client("amp")
        template["Resources"]["Metrics"]["Properties"]["Alias"] = "after"
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert formation.outputs(name)["Url"] == before
        [found] = amp.list_workspaces()["workspaces"]
        assert found["alias"] == "after"
    assert amp.list_workspaces()["workspaces"] == []
