"""Databases, secrets, hosted zones and machines that keep running."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.emulator.formation import Formation, Template, att, ref, resources

ZONE = "us-west-2a"
NETWORK: dict[str, tuple[str, dict[str, Any]]] = {
    "Vpc": ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"}),
    "Subnet": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/20", "AvailabilityZone": ZONE},
    ),
    "Other": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.16.0/20", "AvailabilityZone": "us-west-2b"},
    ),
}
SECRET = (
    "AWS::SecretsManager::Secret",
    {
        "GenerateSecretString": {
            "SecretStringTemplate": '{"username": "slurm"}',
            "GenerateStringKey": "password",
            "PasswordLength": 32,
            "ExcludePunctuation": True,
        }
    },
)
PASSWORD = {"Fn::Join": ["", ["{{resolve:secretsmanager:", ref("Secret"), ":SecretString:password::}}"]]}


def database(**changes: Any) -> Template:
    return resources(
        **NETWORK,
        Secret=SECRET,
        Copy=("AWS::SecretsManager::Secret", {"SecretString": PASSWORD}),
        Policy=(
            "AWS::SecretsManager::ResourcePolicy",
            {
                "SecretId": ref("Secret"),
                "ResourcePolicy": {"Version": "2012-10-17", "Statement": []},
            },
        ),
        Subnets=(
            "AWS::RDS::DBSubnetGroup",
            {"DBSubnetGroupDescription": "private", "SubnetIds": [ref("Subnet"), ref("Other")]},
        ),
        Parameters=(
            "AWS::RDS::DBClusterParameterGroup",
            {
                "Family": "aurora-mysql8.0",
                "Description": "TLS only",
                "Parameters": {"require_secure_transport": "ON"},
            },
        ),
        Cluster=(
            "AWS::RDS::DBCluster",
            {
                "Engine": "aurora-mysql",
                "EngineVersion": "8.0.mysql_aurora.3.12.0",
                "MasterUsername": "slurm",
                "MasterUserPassword": PASSWORD,
                "DBSubnetGroupName": ref("Subnets"),
                "DBClusterParameterGroupName": ref("Parameters"),
                "StorageEncrypted": True,
                "ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 4},
                **changes,
            },
        ),
        Instance=(
            "AWS::RDS::DBInstance",
            {
                "Engine": "aurora-mysql",
                "DBInstanceClass": "db.serverless",
                "DBClusterIdentifier": ref("Cluster"),
            },
        ),
    )


def test_a_database_has_the_secret_s_password_and_an_endpoint(formation: Formation) -> None:
    template = database() | {"Outputs": {"Host": {"Value": att("Cluster", "Endpoint.Address")}}}
    name = formation.created(template)
    manager = formation.emulator.client("secretsmanager")
    held = [
        manager.get_secret_value(SecretId=formation.physical_id(name, one))["SecretString"]
        for one in ("Secret", "Copy")
    ]
    first = json.loads(held[0])
    assert first["username"] == "slurm"
    assert len(first["password"]) == 32
    assert held[1] == first["password"]
    rds = formation.emulator.client("rds")
    cluster = rds.describe_db_clusters(DBClusterIdentifier=formation.physical_id(name, "Cluster"))
    [found] = cluster["DBClusters"]
    assert found["StorageEncrypted"] is True
    assert found["Endpoint"] == formation.outputs(name)["Host"]
    assert formation.update(name, database(DeletionProtection=True)) == "UPDATE_COMPLETE"
    assert formation.delete(name) == "DELETE_FAILED"
    assert "protect" in formation.reasons(name).lower()
    rds.modify_db_cluster(DBClusterIdentifier=found["DBClusterIdentifier"], DeletionProtection=False)
    assert formation.delete(name) == "DELETE_COMPLETE", formation.reasons(name)


def test_every_part_of_a_database_takes_the_stack_s_tags(formation: Formation) -> None:
    rds = formation.emulator.client("rds")
    with formation.deployed(database(), Tags=[{"Key": "team", "Value": "a"}]) as name:
        renamed = [{"Key": "owner", "Value": "b"}]
        assert formation.update(name, database(), Tags=renamed) == "UPDATE_COMPLETE", formation.reasons(name)
        for part, kind in (
            ("Subnets", "subgrp"),
            ("Parameters", "cluster-pg"),
            ("Cluster", "cluster"),
            ("Instance", "db"),
        ):
            arn = f"arn:aws:rds:us-west-2:123456789012:{kind}:{formation.physical_id(name, part)}"
            tags = rds.list_tags_for_resource(ResourceName=arn)["TagList"]
            assert [tag for tag in tags if tag["Key"] in {"team", "owner"}] == renamed, part


def test_a_reference_to_no_secret_fails_the_stack(formation: Formation) -> None:
    missing = "{{resolve:secretsmanager:absent:SecretString:password}}"
    name = formation.create(resources(Copy=("AWS::SecretsManager::Secret", {"SecretString": missing})))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "absent" in formation.reasons(name)


def test_a_rotation_needs_its_function(formation: Formation) -> None:
    function = "arn:aws:lambda:us-west-2:123456789012:function:absent"
    schedule = {"SecretId": ref("Secret"), "RotationLambdaARN": function}
    template = resources(Secret=SECRET, Schedule=("AWS::SecretsManager::RotationSchedule", schedule))
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "Schedule" in formation.reasons(name)


def test_a_function_s_permission(formation: Formation) -> None:
    template = resources(
        Role=(
            "AWS::IAM::Role",
            {
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                }
            },
        ),
        Function=(
            "AWS::Lambda::Function",
            {
                "Code": {"ZipFile": "def handler(event, context): pass"},
                "Handler": "index.handler",
                "Runtime": "python3.13",
                "Role": att("Role", "Arn"),
            },
        ),
        Allowed=(
            "AWS::Lambda::Permission",
            {
                "Action": "lambda:InvokeFunction",
                "FunctionName": ref("Function"),
                "Principal": "secretsmanager.amazonaws.com",
            },
        ),
    )
    with formation.deployed(template) as name:
        function = formation.physical_id(name, "Function")
        policy = formation.emulator.client("lambda").get_policy(FunctionName=function)["Policy"]
        assert "secretsmanager.amazonaws.com" in policy


def test_a_zone_with_records_of_others_is_not_deleted(formation: Formation) -> None:
    zone = {"Name": "demo.internal", "VPCs": [{"VPCId": ref("Vpc"), "VPCRegion": "us-west-2"}]}
    name = formation.created(resources(**NETWORK, Zone=("AWS::Route53::HostedZone", zone)))
    route53 = formation.emulator.client("route53")
    identifier = formation.physical_id(name, "Zone")
    assert route53.get_hosted_zone(Id=identifier)["HostedZone"]["Config"]["PrivateZone"] is True

    def change(action: str) -> None:
        record = {"Name": "ldap.demo.internal", "Type": "A", "TTL": 60}
        changes = [
            {"Action": action, "ResourceRecordSet": record | {"ResourceRecords": [{"Value": "10.0.0.9"}]}}
        ]
        route53.change_resource_record_sets(HostedZoneId=identifier, ChangeBatch={"Changes": changes})

    change("UPSERT")
    assert formation.delete(name) == "DELETE_FAILED"
    assert "ldap.demo.internal" in formation.reasons(name)
    change("DELETE")
    assert formation.delete(name) == "DELETE_COMPLETE"


@pytest.mark.parametrize("instance_type", ["t3.small", "t3.medium"])
def test_a_group_runs_instances_of_its_template(formation: Formation, instance_type: str) -> None:
    def template(kind: str) -> Template:
        return resources(
            **NETWORK,
            Volume=("AWS::EC2::Volume", {"AvailabilityZone": ZONE, "Size": 8, "Encrypted": True}),
            Template=(
                "AWS::EC2::LaunchTemplate",
                {
                    "LaunchTemplateData": {
                        "ImageId": "ami-12c6146b",
                        "InstanceType": kind,
                        "MetadataOptions": {"HttpTokens": "required"},
                    }
                },
            ),
            Group=(
                "AWS::AutoScaling::AutoScalingGroup",
                {
                    "MinSize": "1",
                    "MaxSize": "1",
                    "VPCZoneIdentifier": [ref("Subnet")],
                    "LaunchTemplate": {
                        "LaunchTemplateId": ref("Template"),
                        "Version": att("Template", "LatestVersionNumber"),
                    },
                },
            ),
        )

    with formation.deployed(template("t3.nano")) as name:
        assert formation.update(name, template(instance_type)) == "UPDATE_COMPLETE"
        group = formation.physical_id(name, "Group")
        found = formation.emulator.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[group]
        )["AutoScalingGroups"][0]
        assert [one["InstanceType"] for one in found["Instances"]] == [instance_type]
        volume = formation.physical_id(name, "Volume")
        assert formation.emulator.client("ec2").describe_volumes(VolumeIds=[volume])["Volumes"][0][
            "Encrypted"
        ]
