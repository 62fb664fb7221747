"""The accounting database and the directory, deployed by the real CDK CLI with the cluster that depends on them."""

from __future__ import annotations

import base64
import json

from emulator.inventory import left_over
from emulator.resources.resource import Kind
from tests.deploy.deployment import Deployment

STACK = "HyperPodStack"
CONFIGURATION = """
name: svc
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  cpu: {instance_type: c6i.4xlarge, nodes: 1}
storage:
  openzfs: {capacity_gib: 128}
accounting: {instances: 2}
directory:
  users:
    - {name: ana, uid: 2001}
  groups:
    - {name: team, gid: 3001, members: [ana]}
hyperpod: {pools: [cpu]}
"""


def test_the_cluster_s_controller_reaches_the_database_with_the_secret(deployed: Deployment) -> None:
    outputs = deployed.stack("accounting").outputs
    cluster = deployed.client("rds").describe_db_clusters()["DBClusters"][0]
    assert outputs["DatabaseUri"] == f"{cluster['Endpoint']}:3306"
    assert len(cluster["DBClusterMembers"]) == 2
    manager = deployed.client("secretsmanager")
    both = json.loads(manager.get_secret_value(SecretId=outputs["SecretArn"])["SecretString"])
    alone = manager.get_secret_value(SecretId=outputs["PasswordSecretArn"])["SecretString"]
    assert both == {"username": "slurm", "password": alone}
    [slurm] = [
        entry.properties
        for entry in deployed.stack("hyperpod").resources
        if entry.type == "AWS::SageMaker::Cluster"
    ]
    database = slurm["Orchestrator"]["Slurm"]["AccountingDatabase"]
    assert database["Endpoint"] == cluster["Endpoint"]
    assert database["SecretArn"] == outputs["SecretArn"]
    groups = {
        group["InstanceGroupName"]: group.get("OverrideVpcConfig", {}).get("SecurityGroupIds", [])
        for group in slurm["InstanceGroups"]
    }
    holders = [name for name, held in groups.items() if outputs["ClientSecurityGroupId"] in held]
    assert holders == ["controller"]


def test_the_database_is_reached_by_its_clients_alone(deployed: Deployment) -> None:
    client = deployed.stack("accounting").outputs["ClientSecurityGroupId"]
    server = deployed.client("rds").describe_db_clusters()["DBClusters"][0]["VpcSecurityGroups"][0]
    [group] = deployed.client("ec2").describe_security_groups(GroupIds=[server["VpcSecurityGroupId"]])[
        "SecurityGroups"
    ]
    [rule] = group["IpPermissions"]
    assert (rule["FromPort"], rule["ToPort"], rule["IpRanges"]) == (3306, 3306, [])
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [client]


def test_the_directory_s_program_and_people_are_where_its_server_looks(deployed: Deployment) -> None:
    outputs, s3 = deployed.stack("directory").outputs, deployed.client("s3")
    bucket = outputs["AuthoritySource"].split("/")[2]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="directory/")["Contents"]]
    names = {key.split("/", 3)[-1] for key in keys if key.startswith("directory/program/")}
    assert {"set_up.sh", "apply.py", "units/trainforge-directory.service"} <= names
    content = json.loads(
        s3.get_object(Bucket=bucket, Key="directory/configuration/directory.json")["Body"].read()
    )
    assert (content["host"], content["suffix"]) == ("ldap.svc.internal", "dc=svc,dc=internal")
    assert [user["name"] for user in content["users"]] == ["ana"]


def test_one_server_runs_with_its_configuration(deployed: Deployment) -> None:
    group = deployed.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
    assert len(group["Instances"]) == 1
    template = group["LaunchTemplate"]["LaunchTemplateId"]
    data = deployed.client("ec2").describe_launch_template_versions(LaunchTemplateId=template)
    text = base64.b64decode(data["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]).decode()
    settings = json.loads(text.split("<<'SETTINGS'\n")[1].split("\nSETTINGS")[0])
    outputs = deployed.stack("directory").outputs
    assert settings["volume_id"] == outputs["VolumeId"]
    assert settings["reader_secret"] == outputs["ReaderSecretArn"]
    assert settings["host"] == "ldap.svc.internal"
    assert settings["stack"] == "svc-directory"
    manager = deployed.client("secretsmanager")
    password = manager.get_secret_value(SecretId=settings["reader_secret"])["SecretString"]
    assert password not in text


def test_nodes_get_the_directory(deployed: Deployment) -> None:
    s3 = deployed.client("s3")
    bucket = deployed.stack("directory").outputs["AuthoritySource"].split("/")[2]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="hyperpod/")["Contents"]]
    [key] = [key for key in keys if key.endswith("/node_setup.json")]
    told = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())["directory"]
    outputs = deployed.stack("directory").outputs
    assert told["uri"] == outputs["DirectoryUri"] == "ldaps://ldap.svc.internal"
    assert told["password_secret"] == outputs["ReaderSecretArn"]
    assert told["authority"] == outputs["AuthoritySource"]
    assert set(told) == {"uri", "suffix", "reader", "password_secret", "authority", "region"}


def test_nothing_is_recorded_but_what_no_service_here_holds(deployed: Deployment) -> None:
    recorded = {
        entry.type
        for stack in ("accounting", "directory")
        for entry in deployed.stack(stack).resources
        if entry.kind is Kind.RECORDED
    }
    assert recorded == {"AWS::SecretsManager::RotationSchedule"}


def test_a_server_s_record_does_not_keep_the_stack_from_going(deployed: Deployment) -> None:
    route53 = deployed.client("route53")
    [zone] = route53.list_hosted_zones()["HostedZones"]
    record = {"Name": "ldap.svc.internal", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "10.1.0.9"}]}
    route53.change_resource_record_sets(
        HostedZoneId=zone["Id"],
        ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]},
    )
    deployed.cdk.destroy("--all")
    wrong, _ = left_over(deployed.emulator, deployed.before)
    assert wrong == []
