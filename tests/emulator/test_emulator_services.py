"""IAM, logs, alarms, SSM, KMS, SNS and EventBridge; and that every handler has a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emulator import resources as handlers
from tests.emulator.formation import Formation, att, ref, resources


def trust(service: str = "lambda.amazonaws.com") -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def document(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


def test_roles_and_policies(formation: Formation) -> None:
    template = resources(
        Managed=("AWS::IAM::ManagedPolicy", {"PolicyDocument": document("s3:GetObject")}),
        Role=(
            "AWS::IAM::Role",
            {
                "AssumeRolePolicyDocument": trust(),
                "ManagedPolicyArns": [ref("Managed"), "arn:aws:iam::aws:policy/ReadOnlyAccess"],
                "Policies": [{"PolicyName": "inside", "PolicyDocument": document("ec2:DescribeVpcs")}],
                "Tags": [{"Key": "team", "Value": "a"}],
            },
        ),
        Policy=(
            "AWS::IAM::Policy",
            {"PolicyName": "beside", "PolicyDocument": document("fsx:*"), "Roles": [ref("Role")]},
        ),
        Profile=("AWS::IAM::InstanceProfile", {"Roles": [ref("Role")]}),
    )
    template["Outputs"] = {"Arn": {"Value": att("Role", "Arn")}, "Profile": {"Value": att("Profile", "Arn")}}
    with formation.deployed(template) as name:
        iam, role = formation.emulator.client("iam"), formation.physical_id(name, "Role")

        def attached() -> list[str]:
            found = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
            return sorted(item["PolicyName"] for item in found)

        managed = formation.physical_id(name, "Managed")
        assert attached() == sorted(["ReadOnlyAccess", managed.split("/")[-1]])
        assert sorted(iam.list_role_policies(RoleName=role)["PolicyNames"]) == ["beside", "inside"]
        assert formation.outputs(name)["Arn"] == iam.get_role(RoleName=role)["Role"]["Arn"]
        profile = iam.get_instance_profile(InstanceProfileName=formation.physical_id(name, "Profile"))
        assert [item["RoleName"] for item in profile["InstanceProfile"]["Roles"]] == [role]
        changed = template["Resources"]
        changed["Managed"]["Properties"]["PolicyDocument"] = document("s3:PutObject")
        changed["Role"]["Properties"]["ManagedPolicyArns"] = [ref("Managed")]
        changed["Role"]["Properties"]["Policies"] = []
        changed["Policy"]["Properties"]["PolicyDocument"] = document("fsx:DescribeFileSystems")
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert attached() == [managed.split("/")[-1]]
        assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["beside"]
        beside = iam.get_role_policy(RoleName=role, PolicyName="beside")["PolicyDocument"]
        assert beside["Statement"][0]["Action"] == "fsx:DescribeFileSystems"
        version = iam.get_policy(PolicyArn=managed)["Policy"]["DefaultVersionId"]
        held = iam.get_policy_version(PolicyArn=managed, VersionId=version)["PolicyVersion"]["Document"]
        assert held["Statement"][0]["Action"] == "s3:PutObject"


def test_an_aws_policy_that_does_not_exist_fails(formation: Formation) -> None:
    given = {
        "AssumeRolePolicyDocument": trust(),
        "ManagedPolicyArns": ["arn:aws:iam::aws:policy/NoSuchThing"],
    }
    name = formation.create(resources(Role=("AWS::IAM::Role", given)))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "NoSuchThing does not exist" in formation.reasons(name)
    roles = formation.emulator.client("iam").list_roles()["Roles"]
    assert not [role for role in roles if role["RoleName"].startswith(f"{name}-")]


def test_a_log_group_keeps_its_days(formation: Formation) -> None:
    template = resources(Log=("AWS::Logs::LogGroup", {"RetentionInDays": 30}))
    template["Outputs"] = {"Arn": {"Value": att("Log", "Arn")}}
    logs = formation.emulator.client("logs")
    with formation.deployed(template) as name:
        held = formation.physical_id(name, "Log")

        def days() -> int:
            (found,) = logs.describe_log_groups(logGroupNamePrefix=held)["logGroups"]
            return int(found.get("retentionInDays", 0))

        assert days() == 30
        assert formation.outputs(name)["Arn"].endswith(f"log-group:{held}:*")
        template["Resources"]["Log"]["Properties"] = {
            "RetentionInDays": "90",
            "Tags": [{"Key": "team", "Value": "a"}],
        }
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert days() == 90
        arn = formation.outputs(name)["Arn"].removesuffix(":*")
        assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a"}


def test_an_alarm_is_changed_in_place(formation: Formation) -> None:
    template = resources(
        Topic=("AWS::SNS::Topic", {}),
        Alarm=(
            "AWS::CloudWatch::Alarm",
            {
                "Namespace": "AWS/FSx",
                "MetricName": "FreeDataStorageCapacity",
                "Dimensions": [{"Name": "FileSystemId", "Value": "fs-1"}],
                "Statistic": "Sum",
                "Period": 300,
                "EvaluationPeriods": 2,
                "ComparisonOperator": "LessThanThreshold",
                "Threshold": 5,
                "TreatMissingData": "missing",
                "AlarmActions": [ref("Topic")],
                "Tags": [{"Key": "team", "Value": "a"}],
            },
        ),
    )
    template["Outputs"] = {"Arn": {"Value": att("Alarm", "Arn")}}
    cloudwatch = formation.emulator.client("cloudwatch")
    with formation.deployed(template) as name:
        held = formation.physical_id(name, "Alarm")

        def alarm() -> dict[str, Any]:
            (found,) = cloudwatch.describe_alarms(AlarmNames=[held])["MetricAlarms"]
            return dict(found)

        assert formation.outputs(name)["Arn"] == alarm()["AlarmArn"]
        assert alarm()["AlarmActions"] == [formation.physical_id(name, "Topic")]
        assert alarm()["Dimensions"] == [{"Name": "FileSystemId", "Value": "fs-1"}]
        assert cloudwatch.list_tags_for_resource(ResourceARN=alarm()["AlarmArn"])["Tags"] == [
            {"Key": "team", "Value": "a"}
        ]
        template["Resources"]["Alarm"]["Properties"]["Threshold"] = 7
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert (alarm()["Threshold"], formation.physical_id(name, "Alarm")) == (7, held)
    assert cloudwatch.describe_alarms(AlarmNames=[held])["MetricAlarms"] == []


def test_a_document_gets_a_new_version(formation: Formation) -> None:
    def content(minutes: str) -> dict[str, Any]:
        return {
            "schemaVersion": "1.0",
            "description": "a shell",
            "sessionType": "Standard_Stream",
            "inputs": {"idleSessionTimeout": minutes},
        }

    template = resources(
        Document=(
            "AWS::SSM::Document",
            {
                "Name": "emulator-document",
                "DocumentType": "Session",
                "DocumentFormat": "JSON",
                "UpdateMethod": "NewVersion",
                "Content": content("20"),
            },
        )
    )
    ssm = formation.emulator.client("ssm")
    with formation.deployed(template) as name:
        template["Resources"]["Document"]["Properties"]["Content"] = content("40")
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        found = ssm.get_document(Name="emulator-document")
        assert found["DocumentVersion"] == "2"
        assert json.loads(found["Content"])["inputs"]["idleSessionTimeout"] == "40"


def test_a_parameter_keeps_its_tags_and_is_never_taken_from_another(formation: Formation) -> None:
    template = resources(
        Parameter=("AWS::SSM::Parameter", {"Name": "/emulator/one", "Type": "String", "Value": "x"})
    )
    ssm = formation.emulator.client("ssm")
    with formation.deployed(template, Tags=[{"Key": "team", "Value": "a"}]):
        tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/emulator/one")["TagList"]
        assert tags == [{"Key": "team", "Value": "a"}]
        other = formation.create(template)
        assert "ParameterAlreadyExists" in formation.reasons(other)


def test_an_encrypted_topic_with_policy_subscription_and_rule(formation: Formation) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": ref("Topic"),
            }
        ],
    }
    key_policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}],
    }
    template = resources(
        Key=("AWS::KMS::Key", {"KeyPolicy": key_policy, "EnableKeyRotation": True}),
        Alias=("AWS::KMS::Alias", {"AliasName": "alias/emulator", "TargetKeyId": ref("Key")}),
        Topic=("AWS::SNS::Topic", {"KmsMasterKeyId": att("Key", "Arn")}),
        Policy=("AWS::SNS::TopicPolicy", {"Topics": [ref("Topic")], "PolicyDocument": policy}),
        Mail=(
            "AWS::SNS::Subscription",
            {"TopicArn": ref("Topic"), "Protocol": "email", "Endpoint": "ops@example.com"},
        ),
        Rule=(
            "AWS::Events::Rule",
            {
                "EventPattern": {"source": ["aws.sagemaker"]},
                "State": "ENABLED",
                "Targets": [{"Arn": ref("Topic"), "Id": "Target0"}],
            },
        ),
    )
    sns, events, kms = (formation.emulator.client(name) for name in ("sns", "events", "kms"))
    with formation.deployed(template) as name:
        topic, key = formation.physical_id(name, "Topic"), formation.physical_id(name, "Key")
        facts = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
        assert facts["KmsMasterKeyId"].endswith(key)
        assert json.loads(facts["Policy"])["Statement"][0]["Resource"] == topic
        (mail,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        assert mail["Endpoint"] == "ops@example.com"
        rule = formation.physical_id(name, "Rule")
        assert json.loads(events.describe_rule(Name=rule)["EventPattern"]) == {"source": ["aws.sagemaker"]}
        assert [item["Arn"] for item in events.list_targets_by_rule(Rule=rule)["Targets"]] == [topic]
        assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
        assert kms.describe_key(KeyId="alias/emulator")["KeyMetadata"]["KeyId"] == key
        changed = template["Resources"]
        changed["Rule"]["Properties"]["Targets"][0]["Id"] = "Target1"
        changed["Rule"]["Properties"]["EventPattern"] = {"source": ["aws.batch"]}
        changed["Topic"]["Properties"]["DisplayName"] = "news"
        changed["Key"]["Properties"]["EnableKeyRotation"] = False
        changed["Policy"]["Properties"]["PolicyDocument"]["Statement"][0]["Sid"] = "Events"
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert [item["Id"] for item in events.list_targets_by_rule(Rule=rule)["Targets"]] == ["Target1"]
        facts = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
        assert facts["DisplayName"] == "news"
        assert json.loads(facts["Policy"])["Statement"][0]["Sid"] == "Events"
        assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"


def test_every_handler_has_a_test() -> None:
    handlers.load()
    tests = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    untested = [kind for kind in handlers.REGISTRY if f'"{kind}"' not in tests]
    assert untested == []
