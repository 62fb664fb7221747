"""The directory's stack: rights of the server, retained resources, and the settings of clusters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.synthesis import Synthesis, synthesize

CONFIGURATION = """
name: test
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
retention: {retention}
pools: {{cpu: {{instance_type: c6i.4xlarge, nodes: 1}}}}
storage: {{openzfs: {{capacity_gib: 128}}}}
directory:
  availability_zone: us-west-2b
  users: [{{name: ana, uid: 2001, full_name: Ana Example}}]
  groups: [{{name: team, gid: 3001, members: [ana]}}]
  {more}
hyperpod: {{pools: [cpu]}}
"""
STACK = "DirectoryStack"
SECRET = "arn:aws:secretsmanager:us-west-2:111122223333:secret:ldap-AbCdEf"


def synthesized(folder: Path, retention: str, more: str = "") -> Synthesis:
    path = folder / "configuration.yaml"
    path.write_text(CONFIGURATION.format(retention=retention, more=more), encoding="utf-8")
    return synthesize(path, folder / "cdk.out")


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    return synthesized(tmp_path_factory.mktemp("directory"), "durable")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    """A certificate and a volume that are there already, and a custom domain."""
    more = f"""domain: people.example.com
  certificate_secret_arn: '{SECRET}'
  existing_volume_id: vol-0123456789abcdef0"""
    return synthesized(tmp_path_factory.mktemp("directory"), "ephemeral", more)


def statements(synthesis: Synthesis, action: str) -> list[dict[str, Any]]:
    return [
        statement
        for policy in synthesis.resources(STACK, "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if action in statement["Action"]
    ]


def template(synthesis: Synthesis) -> dict[str, Any]:
    data: dict[str, Any] = synthesis.only(STACK, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    return data


def test_the_server_is_private_encrypted_and_without_old_metadata(durable: Synthesis) -> None:
    data = template(durable)
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert "KeyName" not in data
    assert "AssociatePublicIpAddress" not in str(data)
    group = durable.only(STACK, "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    [rule] = durable.resources(STACK, "AWS::EC2::SecurityGroupIngress")
    assert rule["Properties"]["FromPort"] == 636
    assert "SourceSecurityGroupId" in rule["Properties"]


def test_one_server_at_a_time_has_the_volume_and_the_deployment_waits_for_it(durable: Synthesis) -> None:
    [group] = durable.resources(STACK, "AWS::AutoScaling::AutoScalingGroup")
    assert (group["Properties"]["MinSize"], group["Properties"]["MaxSize"]) == ("1", "1")
    rolling = group["UpdatePolicy"]["AutoScalingRollingUpdate"]
    assert rolling["MinInstancesInService"] == 0
    assert rolling["WaitOnResourceSignals"] is True
    assert group["CreationPolicy"]["ResourceSignal"]["Count"] == 1
    # What it writes into must be emptied after it is gone.
    assert any("RecordCleanup" in name for name in group["DependsOn"])
    text = json.dumps(template(durable)["UserData"])
    assert "DirectoryServers" in text
    assert "DirectoryServers" in durable.templates[STACK]["Resources"]


@pytest.mark.parametrize(("retention", "policy"), [("durable", "Retain"), ("ephemeral", "Delete")])
def test_retention_decides_whether_the_volume_stays(tmp_path: Path, retention: str, policy: str) -> None:
    synthesis = synthesized(tmp_path, retention)
    [volume] = synthesis.resources(STACK, "AWS::EC2::Volume")
    assert volume["DeletionPolicy"] == volume["UpdateReplacePolicy"] == policy
    assert volume["Properties"]["Encrypted"] is True
    assert volume["Properties"]["AvailabilityZone"] == "us-west-2b"


def test_the_server_may_do_what_it_does_and_no_more(durable: Synthesis) -> None:
    # The clean-up's function has the same action without a condition, at the end of the stack.
    [change] = [
        statement
        for statement in statements(durable, "route53:ChangeResourceRecordSets")
        if "Condition" in statement
    ]
    assert change["Condition"]["ForAllValues:StringEquals"] == {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["ldap.test.internal"],
        "route53:ChangeResourceRecordSetsRecordTypes": ["A"],
        "route53:ChangeResourceRecordSetsActions": ["UPSERT"],
    }
    attach = statements(durable, "ec2:AttachVolume")
    assert len(attach) == 2
    assert [("Condition" in statement) for statement in attach] == [False, True]
    put = [
        statement for statement in statements(durable, "s3:PutObject") if "DeleteObject" not in str(statement)
    ]
    assert len(put) == 1
    assert "directory/published/ca.pem" in str(put[0]["Resource"])
    [secret] = statements(durable, "secretsmanager:GetSecretValue")
    assert "ReaderSecret" in str(secret["Resource"])
    assert statements(durable, "cloudformation:SignalResource")[0]["Resource"] == {"Ref": "AWS::StackId"}


def test_people_are_shipped_and_no_secret_is(durable: Synthesis) -> None:
    [content] = [
        json.loads(path.read_text(encoding="utf-8")) for path in durable.folder.glob("asset.*/directory.json")
    ]
    assert content["suffix"] == "dc=test,dc=internal"
    assert content["users"] == [
        {"name": "ana", "uid": 2001, "full_name": "Ana Example", "ssh_public_key": None}
    ]
    assert content["groups"] == [{"name": "team", "gid": 3001, "members": ["ana"]}]
    secret = durable.only(STACK, "AWS::SecretsManager::Secret")
    assert "SecretString" not in secret


def test_a_given_certificate_volume_and_domain(given: Synthesis) -> None:
    assert given.resources(STACK, "AWS::EC2::Volume") == []
    text = json.dumps(template(given)["UserData"])
    assert "vol-0123456789abcdef0" in text
    assert SECRET in text
    [secret] = statements(given, "secretsmanager:GetSecretValue")
    assert SECRET in secret["Resource"]
    zone = given.only(STACK, "AWS::Route53::HostedZone")
    assert zone["Name"] == "people.example.com."
    outputs = given.templates[STACK]["Outputs"]
    assert outputs["DirectoryUri"]["Value"] == "ldaps://ldap.people.example.com"
    assert outputs["DirectoryReader"]["Value"] == "cn=reader,dc=people,dc=example,dc=com"


def test_hyperpod_s_nodes_get_the_database_and_may_read_the_password(durable: Synthesis) -> None:
    cluster = durable.only("HyperPodStack", "AWS::SageMaker::Cluster")
    for group in cluster["InstanceGroups"]:
        assert group["LifeCycleConfig"]["OnInitComplete"] == "on_init_complete.sh"
    policies = json.dumps(durable.resources("HyperPodStack", "AWS::IAM::Policy"))
    assert "test-directory:ExportsOutputRefServerReaderSecret" in policies
