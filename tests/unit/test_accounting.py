"""The accounting database: who reaches it, what stays, and how its password is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from programs.functions.accounting_rotation import index
from tests.synthesis import Synthesis, synthesize

CONFIGURATION = """
name: test
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
retention: {retention}
pools: {{cpu: {{instance_type: c6i.4xlarge, nodes: 1}}}}
accounting: {{instances: 2, max_capacity_acu: 8, backup_days: 14, rotation_days: 30}}
hyperpod: {{pools: [cpu]}}
"""
STACK = "AccountingStack"
REGION = "us-west-2"


def synthesized(folder: Path, retention: str) -> Synthesis:
    path = folder / "configuration.yaml"
    path.write_text(CONFIGURATION.format(retention=retention), encoding="utf-8")
    return synthesize(path, folder / "cdk.out")


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    return synthesized(tmp_path_factory.mktemp("accounting"), "durable")


@pytest.fixture(scope="module")
def ephemeral(tmp_path_factory: pytest.TempPathFactory) -> Synthesis:
    return synthesized(tmp_path_factory.mktemp("accounting"), "ephemeral")


def test_it_is_encrypted_and_refuses_connections_without_tls(durable: Synthesis) -> None:
    cluster = durable.only(STACK, "AWS::RDS::DBCluster")
    assert cluster["StorageEncrypted"] is True
    assert cluster["ServerlessV2ScalingConfiguration"] == {"MinCapacity": 0.5, "MaxCapacity": 8}
    parameters = durable.only(STACK, "AWS::RDS::DBClusterParameterGroup")["Parameters"]
    assert parameters["require_secure_transport"] == "ON"
    for instance in durable.resources(STACK, "AWS::RDS::DBInstance"):
        assert instance["Properties"]["PubliclyAccessible"] is False


def test_no_password_is_in_a_template(durable: Synthesis) -> None:
    cluster = durable.only(STACK, "AWS::RDS::DBCluster")
    [parts] = cluster["MasterUserPassword"].values()
    assert parts[1][0] == "{{resolve:secretsmanager:"
    generated, copy = (item["Properties"] for item in durable.resources(STACK, "AWS::SecretsManager::Secret"))
    assert generated["GenerateSecretString"]["SecretStringTemplate"] == '{"username": "slurm"}'
    assert copy["SecretString"] == cluster["MasterUserPassword"]


@pytest.mark.parametrize(
    ("retention", "policy", "protected", "days"),
    [("durable", "Retain", True, 14), ("ephemeral", "Delete", False, 1)],
)
def test_retention_decides_what_stays(
    request: pytest.FixtureRequest, retention: str, policy: str, protected: bool, days: int
) -> None:
    synthesis: Synthesis = request.getfixturevalue(retention)
    cluster = synthesis.only(STACK, "AWS::RDS::DBCluster")
    assert (cluster["DeletionProtection"], cluster["BackupRetentionPeriod"]) == (protected, days)
    kept = {
        resource["Type"]
        for resource in synthesis.templates[STACK]["Resources"].values()
        if resource.get("DeletionPolicy") == "Retain"
    }
    depended_on = {
        "AWS::EC2::SecurityGroup",
        "AWS::RDS::DBCluster",
        "AWS::RDS::DBClusterParameterGroup",
        "AWS::RDS::DBInstance",
        "AWS::RDS::DBSubnetGroup",
        "AWS::SecretsManager::Secret",
    }
    assert kept & depended_on == (depended_on if policy == "Retain" else set())
    # A rotation whose function is gone would fail at every attempt.
    assert kept & {"AWS::SecretsManager::RotationSchedule", "AWS::Lambda::Function"} == set()


def test_one_group_reaches_it_and_the_controller_alone_is_in_it(durable: Synthesis) -> None:
    [rule] = durable.resources(STACK, "AWS::EC2::SecurityGroupIngress")
    assert rule["Properties"]["FromPort"] == rule["Properties"]["ToPort"] == 3306
    for group in durable.resources(STACK, "AWS::EC2::SecurityGroup"):
        assert "SecurityGroupIngress" not in group["Properties"]
    cluster = durable.only("HyperPodStack", "AWS::SageMaker::Cluster")
    networks = {
        group["InstanceGroupName"]: str(group.get("OverrideVpcConfig")) for group in cluster["InstanceGroups"]
    }
    assert [name for name, network in networks.items() if "accounting:" in network] == ["controller"]
    [policy] = [
        found
        for found in durable.resources("HyperPodStack", "AWS::IAM::Policy")
        if "DatabaseClient" in str(found)
    ]
    assert "secretsmanager:GetSecretValue" in str(policy)
    [role] = policy["Properties"]["Roles"]
    [controller] = [
        group for group in cluster["InstanceGroups"] if group["InstanceGroupName"] == "controller"
    ]
    assert controller["ExecutionRole"]["Fn::GetAtt"][0] == role["Ref"]


def test_the_function_changes_this_database_and_no_other(durable: Synthesis) -> None:
    statements = [
        statement
        for policy in durable.resources(STACK, "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    [modify] = [statement for statement in statements if "rds:ModifyDBCluster" in statement["Action"]]
    assert "DatabaseCluster" in str(modify["Resource"])
    assert [item["Action"] for item in statements if item["Resource"] == "*"] == [
        "secretsmanager:GetRandomPassword"
    ]
    schedule = durable.only(STACK, "AWS::SecretsManager::RotationSchedule")
    assert schedule["RotationRules"] == {"ScheduleExpression": "rate(30 days)"}
    assert schedule["RotateImmediatelyOnUpdate"] is False


def test_secrets_manager_calls_the_function_for_this_account_alone(durable: Synthesis) -> None:
    permission = durable.only(STACK, "AWS::Lambda::Permission")
    assert permission["Principal"] == "secretsmanager.amazonaws.com"
    assert permission["SourceAccount"] == {"Ref": "AWS::AccountId"}


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Yield the rotation's module in a moto account with a database, its secret and the copy."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("CLUSTER", "slurm-accounting")
    monkeypatch.setenv("PASSWORD_SECRET", "copy")
    with mock_aws():
        boto3.client("rds").create_db_cluster(
            DBClusterIdentifier="slurm-accounting",
            Engine="aurora-mysql",
            MasterUsername="slurm",
            MasterUserPassword="first-word",
        )
        manager = boto3.client("secretsmanager")
        manager.create_secret(Name="both", SecretString='{"username": "slurm", "password": "first-word"}')
        manager.create_secret(Name="copy", SecretString="first-word")
        yield index


def rotate(function: ModuleType, token: str, *steps: str) -> None:
    for step in steps or ("createSecret", "setSecret", "testSecret", "finishSecret"):
        function.handler({"SecretId": "both", "ClientRequestToken": token, "Step": step}, None)


def current(manager: Any) -> str:
    # The stage is named: without it moto answers with the version that was first.
    value: str = manager.get_secret_value(SecretId="both", VersionStage="AWSCURRENT")["SecretString"]
    return value


TOKEN = "0123456789abcdef0123456789abcdef"


def test_a_rotation_changes_database_secret_and_copy(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    client = boto3.client("rds")
    modify = client.modify_db_cluster

    def noted(**more: Any) -> Any:
        given.append(more)
        return modify(**more)

    monkeypatch.setattr(client, "modify_db_cluster", noted)
    monkeypatch.setattr(
        function.boto3,
        "client",
        lambda name: client if name == "rds" else boto3.session.Session().client(name),
    )
    rotate(function, TOKEN)
    manager = boto3.session.Session().client("secretsmanager")
    both = json.loads(current(manager))
    assert both["username"] == "slurm"
    assert both["password"] != "first-word"
    assert both["password"].isalnum()
    assert len(both["password"]) == 32
    assert manager.get_secret_value(SecretId="copy")["SecretString"] == both["password"]
    [call] = given
    assert (call["DBClusterIdentifier"], call["MasterUserPassword"]) == ("slurm-accounting", both["password"])
    previous = manager.get_secret_value(SecretId="both", VersionStage="AWSPREVIOUS")["SecretString"]
    assert json.loads(previous)["password"] == "first-word"


def test_every_step_may_be_repeated(function: ModuleType) -> None:
    rotate(function, TOKEN, "createSecret")
    manager = boto3.client("secretsmanager")
    pending = manager.get_secret_value(SecretId="both", VersionId=TOKEN)["SecretString"]
    rotate(
        function,
        TOKEN,
        "createSecret",
        "setSecret",
        "setSecret",
        "testSecret",
        "finishSecret",
        "finishSecret",
    )
    assert current(manager) == pending


def test_the_try_when_a_schedule_is_made_changes_nothing(function: ModuleType) -> None:
    """Secrets Manager then calls testSecret alone, with a version that it takes back."""
    rotate(function, TOKEN, "testSecret")
    manager = boto3.client("secretsmanager")
    assert "first-word" in current(manager)


def test_a_database_that_does_not_take_it_fails_the_rotation(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting:
        def describe_db_clusters(self, **_given: str) -> dict[str, Any]:
            waiting = {"MasterUserPassword": "****"}
            return {"DBClusters": [{"Status": "available", "PendingModifiedValues": waiting}]}

    monkeypatch.setattr(function.boto3, "client", lambda _name: Waiting())
    monkeypatch.setattr(function, "WAIT_SECONDS", 0)
    with pytest.raises(RuntimeError, match="did not take the password in time"):
        rotate(function, TOKEN, "testSecret")


def test_steps_out_of_order_are_reported(function: ModuleType) -> None:
    for step in ("setSecret", "finishSecret"):
        with pytest.raises(RuntimeError, match="has no version"):
            rotate(function, TOKEN, step)
    with pytest.raises(RuntimeError, match="'askSecret' is unknown"):
        rotate(function, TOKEN, "askSecret")
