"""Metrics, alerts and Grafana, deployed by the real CDK CLI with a cluster whose hosts send metrics."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import yaml

from catalog.batch import HOST_FOLDER
from emulator.inventory import left_over
from emulator.resources.resource import Kind
from observability.dashboards import boards
from tests.deploy.deployment import Deployment
from tests.emulator.test_emulator_grafana import request

STACK = "BatchStack"
CONFIGURATION = """
name: seen
region: us-west-2
availability_zones: [us-west-2a]
pools:
  gpu: {instance_type: p5.48xlarge, nodes: 1, capacity: {source: capacity-block, reservation_id: cr-0123456789abcdef0}}
storage:
  lustre: {capacity_gib: 1200}
  openzfs: {capacity_gib: 64}
notifications: {emails: [team@example.com]}
observability:
  alerts: {critical: {emails: [on-call@example.com]}}
  grafana: {kind: managed}
batch: {pools: [gpu]}
"""


def workspace(deployed: Deployment) -> str:
    return deployed.stack("observability").outputs["MetricsWorkspace"]


def test_the_workspace_has_the_alert_rules(deployed: Deployment) -> None:
    [namespace] = deployed.client("amp").list_rule_groups_namespaces(workspaceId=workspace(deployed))[
        "ruleGroupsNamespaces"
    ]
    data = deployed.client("amp").describe_rule_groups_namespace(
        workspaceId=workspace(deployed), name=namespace["name"]
    )["ruleGroupsNamespace"]["data"]
    rules = [rule for group in yaml.safe_load(data)["groups"] for rule in group["rules"]]
    assert any("alert" in rule for rule in rules)


def test_alerts_reach_the_people_of_their_severity(deployed: Deployment) -> None:
    outputs, sns = deployed.stack("observability").outputs, deployed.client("sns")
    people = {
        severity: [
            one["Endpoint"]
            for one in sns.list_subscriptions_by_topic(TopicArn=outputs[f"{severity}Topic"])["Subscriptions"]
        ]
        for severity in ("Critical", "Warning")
    }
    assert people == {"Critical": ["on-call@example.com"], "Warning": ["team@example.com"]}
    [made] = [
        entry.properties
        for entry in deployed.stack("observability").resources
        if entry.type == "AWS::APS::Workspace"
    ]
    manager = yaml.safe_load(yaml.safe_load(made["AlertManagerDefinition"])["alertmanager_config"])
    topics = {one["name"]: one["sns_configs"][0]["topic_arn"] for one in manager["receivers"]}
    assert topics["critical"] == outputs["CriticalTopic"]
    assert topics["warning"] == outputs["WarningTopic"]


def test_nodes_read_where_they_send_metrics(deployed: Deployment) -> None:
    value = deployed.client("ssm").get_parameter(Name="/trainforge/seen/observability/metrics")
    address = json.loads(value["Parameter"]["Value"])["remote_write_url"]
    assert address.endswith(f"/workspaces/{workspace(deployed)}/api/v1/remote_write")


def test_the_alarm_is_on_the_file_system_and_the_rule_names_it(deployed: Deployment) -> None:
    alarms = deployed.client("cloudwatch").describe_alarms()["MetricAlarms"]
    [alarm] = [one for one in alarms if one.get("MetricName") == "FreeDataStorageCapacity"]
    [openzfs] = [one for one in alarms if one.get("Metrics")]
    used = {
        one["Id"]: one["MetricStat"]["Metric"]["Dimensions"]
        for one in openzfs["Metrics"]
        if "MetricStat" in one
    }
    home = [{"Name": "FileSystemId", "Value": deployed.file_system("OPENZFS")["FileSystemId"]}]
    assert used == {"used": home, "size": home}
    lustre = deployed.file_system("LUSTRE")["FileSystemId"]
    assert alarm["Dimensions"] == [{"Name": "FileSystemId", "Value": lustre}]
    assert alarm["Threshold"] == 1200 * 2**30 / 10
    rules = deployed.client("events").list_rules()["Rules"]
    patterns = [json.loads(rule["EventPattern"]) for rule in rules if rule.get("EventPattern")]
    for name in (alarm["AlarmName"], openzfs["AlarmName"]):
        assert any(one["detail"].get("alarmName") == [name] for one in patterns)
    assert any(one["detail"].get("capacity-reservation-id") == ["cr-0123456789abcdef0"] for one in patterns)
    prefixes = [
        name["prefix"]
        for one in patterns
        for name in one["detail"].get("alarmName", [])
        if isinstance(name, dict)
    ]
    ends = [one["AlarmName"] for one in alarms if one not in (alarm, openzfs)]
    assert len(ends) == 3
    assert all(sum(name.startswith(prefix) for prefix in prefixes) == 1 for name in ends), (ends, prefixes)
    [schedule] = [rule for rule in rules if rule.get("ScheduleExpression")]
    [target] = deployed.client("events").list_targets_by_rule(Rule=schedule["Name"])["Targets"]
    assert json.loads(target["Input"]) == {"reservations": ["cr-0123456789abcdef0"]}


def test_grafana_holds_data_sources_and_dashboards_and_no_account_is_left(deployed: Deployment) -> None:
    [grafana] = deployed.client("grafana").list_workspaces()["workspaces"]
    held = deployed.client("grafana").describe_workspace(workspaceId=grafana["id"])["workspace"]
    assert held["authentication"]["providers"] == ["AWS_SSO"]
    [filled] = [
        entry
        for entry in deployed.stack("observability").resources
        if entry.type == "Custom::TrainforgeGrafanaContent"
    ]
    assert filled.kind is Kind.ANSWERED
    assert filled.status == "CREATE_COMPLETE"
    accounts = deployed.client("grafana").list_workspace_service_accounts(workspaceId=grafana["id"])
    assert accounts["serviceAccounts"] == []
    sources = {one["uid"]: one for one in contents(deployed, grafana, "datasources")}
    assert set(sources) == {"prometheus", "alertmanager", "cloudwatch"}
    assert sources["prometheus"]["url"] == deployed.stack("observability").outputs["MetricsUrl"]
    shown = {one["uid"]: one["title"] for one in contents(deployed, grafana, "dashboards")}
    assert shown == {board.uid: board.title for board in boards()}


def contents(deployed: Deployment, grafana: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return what a Grafana holds of a kind, by a token of an account that is deleted afterwards."""
    client, workspace = deployed.client("grafana"), grafana["id"]
    account = client.create_workspace_service_account(grafanaRole="VIEWER", name="a", workspaceId=workspace)
    made = client.create_workspace_service_account_token(
        name="a", secondsToLive=60, serviceAccountId=account["id"], workspaceId=workspace
    )
    status, held = request(
        f"{grafana['endpoint']}/api/{kind}", made["serviceAccountToken"]["key"], "GET", None
    )
    client.delete_workspace_service_account(serviceAccountId=account["id"], workspaceId=workspace)
    assert status == 200, held
    return list(held)


def test_hosts_are_told_where_their_collector_is_and_may_send(deployed: Deployment) -> None:
    templates = deployed.client("ec2").describe_launch_templates()["LaunchTemplates"]
    texts = []
    for one in templates:
        versions = deployed.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=one["LaunchTemplateId"]
        )["LaunchTemplateVersions"]
        texts.append(base64.b64decode(versions[-1]["LaunchTemplateData"]["UserData"]).decode())
    [text] = [one for one in texts if "collect.py" in one]
    bucket, _, prefix = re.findall(r"s3://([^'/]+)(/)([^']+)/'", text)[0]
    s3 = deployed.client("s3")
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]}
    assert {f"{prefix}/collect.py", f"{prefix}/nodes/common/collector.py"} <= keys
    told = json.loads(s3.get_object(Bucket=bucket, Key=f"{prefix}/metrics.json")["Body"].read())
    assert (told["runs"], told["host_folder"]) == ("/fsx/runs", HOST_FOLDER)
    value = deployed.client("ssm").get_parameter(Name=told["parameter"])["Parameter"]["Value"]
    exporters = json.loads(value)["exporters"].removeprefix(f"s3://{bucket}/")
    held = {
        item["Key"].removeprefix(exporters)
        for item in s3.list_objects_v2(Bucket=bucket, Prefix=exporters)["Contents"]
    }
    units = {f"units/trainforge-{name}-exporter.service" for name in ("efa", "runs")}
    assert {"exporters.pyz", "dcgm-counters.csv", *units} <= held


def test_everything_goes_with_the_stacks(deployed: Deployment) -> None:
    deployed.cdk.destroy("--all")
    wrong, _ = left_over(deployed.emulator, deployed.before)
    assert wrong == []
