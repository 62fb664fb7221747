"""ParallelCluster's provider and custom resource in the emulator: what they answer, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.formation import Formation, Template, att, ref, resources

KIND = "AWS::CloudFormation::Stack"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Action": "iam:PassRole", "Resource": "*"}],
}


def url(region: str) -> str:
    host = f"https://{region}-aws-parallelcluster.s3.{region}.amazonaws.com"
    return f"{host}/parallelcluster/3.16.1/templates/custom_resource/cluster.yaml"


def provider(region: str, **parameters: Any) -> Template:
    return resources(
        Restriction=("AWS::IAM::ManagedPolicy", {"PolicyDocument": POLICY}),
        Provider=(
            KIND,
            {
                "TemplateURL": url(region),
                "Parameters": {"AdditionalIamPolicies": ref("Restriction"), **parameters},
            },
        ),
    )


def test_the_provider_answers_with_its_outputs(formation: Formation) -> None:
    template = provider(formation.emulator.region)
    template["Outputs"] = {"Token": {"Value": att("Provider", "Outputs.ServiceToken")}}
    with formation.deployed(template) as name:
        token = formation.outputs(name)["Token"]
        assert ":function:pcluster-cfn-" in token
        template["Resources"]["Provider"]["Properties"]["Tags"] = [{"Key": "a", "Value": "b"}]
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert formation.outputs(name)["Token"] == token


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"TemplateURL": "https://example.com/cluster.yaml"}, "knows no template at"),
        ({"TemplateURL": url("eu-north-1")}, "is for that region"),
        ({"Parameters": {"Policies": "x"}}, "[Policies] do not exist in the template"),
        ({"Parameters": {"AdditionalIamPolicies": "arn:aws:iam::123456789012:policy/none"}}, "none"),
        ({"Parameters": {"AdditionalIamPolicies": ",".join("abcde")}}, "at most ten managed policies"),
    ],
)
def test_what_the_template_would_not_take_fails(
    formation: Formation, changes: dict[str, Any], reason: str
) -> None:
    template = provider(formation.emulator.region)
    template["Resources"]["Provider"]["Properties"] |= changes
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in formation.reasons(name)


def test_outputs_are_a_stacks_only_attributes(formation: Formation) -> None:
    template = provider(formation.emulator.region)
    template["Outputs"] = {"Token": {"Value": att("Provider", "ServiceToken")}}
    with pytest.raises(
        formation.client.exceptions.ClientError, match="does not support attribute type ServiceToken"
    ):
        formation.create(template)


def cluster(name: str, **configuration: Any) -> Template:
    """Return a cluster in a network of its own, by a provider that is there."""
    nodes = {"Networking": {"SubnetId": ref("Subnet"), "SecurityGroups": [att("Group", "GroupId")]}}
    queue = {"SubnetIds": [ref("Subnet")], "SecurityGroups": [att("Group", "GroupId")]}
    resource = {"Name": "cpu", "InstanceType": "c6i.4xlarge", "MinCount": 1, "MaxCount": 2}
    return resources(
        Vpc=("AWS::EC2::VPC", {"CidrBlock": "10.77.0.0/16"}),
        Subnet=("AWS::EC2::Subnet", {"VpcId": ref("Vpc"), "CidrBlock": "10.77.1.0/24"}),
        Group=("AWS::EC2::SecurityGroup", {"VpcId": ref("Vpc"), "GroupDescription": "nodes"}),
        Cluster=(
            "Custom::PclusterCluster",
            {
                "ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:provider",
                "ClusterName": name,
                "ClusterConfiguration": {
                    "Image": {"Os": "ubuntu2204"},
                    "HeadNode": {"InstanceType": "m6i.xlarge", **nodes},
                    "Scheduling": {
                        "SlurmQueues": [{"Name": "cpu", "Networking": queue, "ComputeResources": [resource]}]
                    },
                    **configuration,
                },
            },
        ),
    )


def test_a_cluster_is_its_tagged_instances_and_goes_with_its_stack(formation: Formation) -> None:
    template = cluster("emulated")
    template["Outputs"] = {"Head": {"Value": att("Cluster", "headNode.instanceId")}}
    filters = [
        {"Name": "tag:parallelcluster:cluster-name", "Values": ["emulated"]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    ec2 = formation.emulator.client("ec2")
    with formation.deployed(template) as name:
        found = [
            item for r in ec2.describe_instances(Filters=filters)["Reservations"] for item in r["Instances"]
        ]
        assert len(found) == 2
        assert formation.outputs(name)["Head"] in {item["InstanceId"] for item in found}
    assert ec2.describe_instances(Filters=filters)["Reservations"] == []


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        (
            {"SharedStorage": [{"FsxLustreSettings": {"FileSystemId": "fs-0123456789abcdef0"}}]},
            "fs-0123456789abcdef0",
        ),
        (
            {"SharedStorage": [{"FsxOpenZfsSettings": {"VolumeId": "fsvol-0123456789abcdef0"}}]},
            "fsvol-0123456789abcdef0",
        ),
        ({"Iam": {"AdditionalIamPolicies": [{"Policy": "arn:aws:iam::123456789012:policy/none"}]}}, "none"),
        (
            {"Iam": {"AdditionalIamPolicies": [{"Policy": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]}},
            "may not attach the policy 'ReadOnlyAccess'",
        ),
        ({"CustomActions": {"OnNodeConfigured": {"Script": "s3://nowhere/script"}}}, "HeadObject"),
    ],
)
def test_what_a_cluster_depends_on_must_exist(
    formation: Formation, configuration: dict[str, Any], reason: str
) -> None:
    name = formation.create(cluster("refused", **configuration))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in formation.reasons(name)


def test_a_cluster_cannot_have_the_name_of_the_stack_around_it(formation: Formation) -> None:
    name = formation.name()
    formation.create(cluster(name), name)
    assert "exists already" in formation.reasons(name)


def test_what_parallelcluster_never_updates_fails_the_update(formation: Formation) -> None:
    template = cluster("standing")
    with formation.deployed(template) as name:
        configuration = template["Resources"]["Cluster"]["Properties"]["ClusterConfiguration"]
        configuration["HeadNode"]["InstanceType"] = "m6i.2xlarge"
        assert formation.update(name, template) == "UPDATE_ROLLBACK_COMPLETE"
        assert "HeadNode.InstanceType cannot be updated" in formation.reasons(name)
