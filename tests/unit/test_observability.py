"""The observability stack: the workspace, routes of alerts, Grafana in both kinds, events of storage and capacity."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from catalog.observability import SEVERITIES
from observability.alerts import alerts
from observability.alerts.rules import Alert
from tests.synthesis import Synthesis
from trainforge.observability.alert_manager import alert_manager_definition

STACK = "ObservabilityStack"
CONFIGURATION = """
name: test
region: us-west-2
availability_zones: [us-west-2a]
pools: {{cpu: {{instance_type: c6i.4xlarge, nodes: 1}}}}
storage: {{lustre: {{capacity_gib: 1200}}}}
notifications: {{emails: [a@example.com]}}
observability: {{{observability}}}
hyperpod: {{pools: [cpu]}}
"""
TOPIC = "arn:aws:sns:us-west-2:111122223333:on-call"
WORKSPACE = "ws-00000000-1111-2222-3333-444444444444"
Synthesized = Callable[[str], Synthesis]


@pytest.fixture
def managed(synthesis: Callable[[str], Synthesis]) -> Synthesis:
    return synthesis("config/observability.yaml")


@pytest.fixture
def instance(synthesized: Synthesized) -> Synthesis:
    return synthesized(CONFIGURATION.format(observability="grafana: {kind: instance}"))


def statements(synthesis: Synthesis, action: str) -> list[dict[str, Any]]:
    return [
        statement
        for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
        for policy in synthesis.resources(STACK, kind)
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if action in statement["Action"]
    ]


def test_a_severity_has_a_receiver_of_its_own_and_an_unknown_one_is_a_warning() -> None:
    topics = {severity: f"{TOPIC}-{severity}" for severity in SEVERITIES}
    definition = yaml.safe_load(alert_manager_definition(topics, deployment="demo", region="us-west-2"))
    manager = yaml.safe_load(definition["alertmanager_config"])
    assert {one["name"]: one["sns_configs"][0]["topic_arn"] for one in manager["receivers"]} == topics
    assert manager["route"]["receiver"] == "warning"
    routed = {one["matchers"][0]: one["receiver"] for one in manager["route"]["routes"]}
    assert routed == {f'severity="{severity}"': severity for severity in SEVERITIES}
    # The service demands a region beside a topic, and refuses an address of the API.
    [config] = manager["receivers"][0]["sns_configs"]
    assert config["sigv4"] == {"region": "us-west-2"}
    assert "api_url" not in config


def _matches(matcher: str, labels: dict[str, str]) -> bool:
    name, different, value = re.fullmatch(r'(\w+)(!?)="(.*)"', matcher).groups()  # type: ignore[union-attr]
    return (labels.get(name, "") == value) != bool(different)


def _inhibited(rule: dict[str, list[str]], source: dict[str, str], target: dict[str, str]) -> bool:
    """Return whether one alert inhibits another, as Alertmanager's documentation of inhibit_rule defines it."""
    return (
        all(_matches(each, source) for each in rule["source_matchers"])
        and all(_matches(each, target) for each in rule["target_matchers"])
        and all(source.get(name, "") == target.get(name, "") for name in rule["equal"])
    )


def test_a_critical_alert_inhibits_the_warning_on_the_same_fault_and_no_other() -> None:
    topics = {severity: f"{TOPIC}-{severity}" for severity in SEVERITIES}
    definition = yaml.safe_load(alert_manager_definition(topics, deployment="demo", region="us-west-2"))
    [rule] = yaml.safe_load(definition["alertmanager_config"])["inhibit_rules"]
    place = {"cluster": "c", "node": "n", "gpu": "0", "device": "fs:/fsx"}

    def at(alert: Alert, **more: str) -> dict[str, str]:
        where = {**place, **more}
        return {**alert.rule(None)["labels"], **{name: where.get(name, "x") for name in alert.labels}}

    pairs = {
        (one.name, other.name)
        for one in alerts()
        for other in alerts()
        if one is not other and _inhibited(rule, at(one), at(other))
    }
    assert pairs == {
        ("GpuRowRemapFailure", "GpuRowRemapPending"),
        ("KubernetesNodeNotReady", "NodeSilent"),
        ("SharedFileSystemFull", "SharedFileSystemAlmostFull"),
    }
    named = {alert.name: alert for alert in alerts()}
    for critical, warning in pairs:
        other = {name: "other" for name in named[warning].labels if name != "cluster"}
        assert not _inhibited(rule, at(named[critical]), at(named[warning], **other)), "elsewhere"


def test_only_this_workspace_publishes_to_a_topic(managed: Synthesis) -> None:
    policies = managed.resources(STACK, "AWS::SNS::TopicPolicy")
    assert len(policies) == len(SEVERITIES)
    for policy in policies:
        [allowed] = [
            statement
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Allow"
        ]
        assert allowed["Principal"] == {"Service": "aps.amazonaws.com"}
        assert set(allowed["Condition"]["ArnEquals"]) == {"aws:SourceArn"}
        assert "aws:SourceAccount" in allowed["Condition"]["StringEquals"]
    [key] = managed.resources(STACK, "AWS::KMS::Key")
    [used] = [
        statement
        for statement in key["Properties"]["KeyPolicy"]["Statement"]
        if statement["Principal"] == {"Service": "aps.amazonaws.com"}
    ]
    assert "aws:SourceAccount" in used["Condition"]["StringEquals"]


def test_grafana_reads_one_workspace_and_changes_silences_alone(
    managed: Synthesis, instance: Synthesis
) -> None:
    for synthesis in (managed, instance):
        [query] = statements(synthesis, "aps:QueryMetrics")
        assert "Fn::GetAtt" in query["Resource"]
        verbs = {action.split(":")[1] for action in query["Action"]}
        changing = {verb for verb in verbs if verb.startswith(("Put", "Delete", "Create", "Remote"))}
        assert changing == {"PutAlertManagerSilences", "DeleteAlertManagerSilence"}
        assert "GetAlertManagerSilence" in verbs


def test_a_managed_grafana_is_entered_through_identity_center(managed: Synthesis) -> None:
    workspace = managed.only(STACK, "AWS::Grafana::Workspace")
    assert workspace["AuthenticationProviders"] == ["AWS_SSO"]
    assert workspace["PermissionType"] == "CUSTOMER_MANAGED"
    [filling] = statements(managed, "grafana:CreateWorkspaceServiceAccountToken")
    assert "*" not in json.dumps(filling["Resource"])
    [content] = managed.resources(STACK, "Custom::TrainforgeGrafanaContent")
    assert len(content["Properties"]["Dashboards"]) == len(content["Properties"]["Uids"]) > 0
    assert content["Properties"]["ScrapeSeconds"] == 30


def test_an_instance_opens_nothing_and_keeps_its_password_out_of_the_template(instance: Synthesis) -> None:
    group = instance.only(STACK, "AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert instance.resources(STACK, "AWS::EC2::SecurityGroupIngress") == []
    data = instance.only(STACK, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert "KeyName" not in data
    secret = instance.only(STACK, "AWS::SecretsManager::Secret")
    assert "SecretString" not in secret
    assert secret["GenerateSecretString"]["PasswordLength"] == 32
    script = json.dumps(data["UserData"])
    assert "dynamic" not in script
    assert "resolve:secretsmanager" not in script
    assert "SCRAPE_SECONDS='30'" in script
    assert len(script) < 16384
    assert instance.resources(STACK, "AWS::Grafana::Workspace") == []


def test_an_existing_workspace_gets_rules_and_no_alert_manager(synthesized: Synthesized) -> None:
    keys = f"workspace_id: {WORKSPACE}, runbooks_url: 'https://x.example/r/'"
    found = synthesized(CONFIGURATION.format(observability=keys))
    assert found.resources(STACK, "AWS::APS::Workspace") == []
    rules = found.only(STACK, "AWS::APS::RuleGroupsNamespace")
    assert WORKSPACE in json.dumps(rules["Workspace"])
    groups = yaml.safe_load(rules["Data"])["groups"]
    [rule] = [each for group in groups for each in group["rules"] if each.get("alert") == "GpuXid"]
    assert rule["annotations"]["runbook_url"] == "https://x.example/r/gpu-xid.md"


def test_deployments_that_share_a_workspace_have_a_namespace_each_and_the_rules_once(
    synthesized: Synthesized,
) -> None:
    first = synthesized(CONFIGURATION.format(observability=f"workspace_id: {WORKSPACE}"))
    assert first.only(STACK, "AWS::APS::RuleGroupsNamespace")["Name"] == "trainforge-test"
    second = synthesized(CONFIGURATION.format(observability=f"workspace_id: {WORKSPACE}, rules: false"))
    assert second.resources(STACK, "AWS::APS::RuleGroupsNamespace") == []


def test_a_severity_that_names_nobody_goes_to_everybody(synthesized: Synthesized) -> None:
    found = synthesized(
        CONFIGURATION.format(observability="alerts: {critical: {}, info: {emails: [b@x.org]}}")
    )
    addresses = [one["Properties"]["Endpoint"] for one in found.resources(STACK, "AWS::SNS::Subscription")]
    assert sorted(addresses) == ["a@example.com", "a@example.com", "b@x.org"]


def test_what_the_alert_manager_cannot_deliver_is_logged(managed: Synthesis) -> None:
    workspace = managed.only(STACK, "AWS::APS::Workspace")
    [log] = [
        name
        for name, one in managed.templates[STACK]["Resources"].items()
        if one["Type"] == "AWS::Logs::LogGroup"
        and str(one["Properties"].get("LogGroupName", "")).startswith("/aws/vendedlogs/prometheus/")
    ]
    assert workspace["LoggingConfiguration"]["LogGroupArn"] == {"Fn::GetAtt": [log, "Arn"]}


def test_a_deployment_waits_for_grafana_on_its_instance(instance: Synthesis) -> None:
    group = instance.templates[STACK]["Resources"]["GrafanaServers"]
    assert group["CreationPolicy"]["ResourceSignal"]["Count"] == 1
    assert group["UpdatePolicy"]["AutoScalingRollingUpdate"]["WaitOnResourceSignals"] is True
    [signal] = statements(instance, "cloudformation:SignalResource")
    assert signal["Resource"] == {"Ref": "AWS::StackId"}


def test_an_existing_topic_is_used_and_not_changed(synthesized: Synthesized) -> None:
    route = f"alerts: {{critical: {{topic_arn: '{TOPIC}'}}}}"
    found = synthesized(CONFIGURATION.format(observability=route))
    topics = found.resources(STACK, "AWS::SNS::Topic")
    assert len(topics) == len(SEVERITIES) - 1
    assert TOPIC in json.dumps(found.only(STACK, "AWS::APS::Workspace")["AlertManagerDefinition"])
    [publish] = [one for one in statements(found, "sns:Publish") if one["Resource"] == TOPIC]
    assert publish["Action"] == "sns:Publish"


def test_retention_and_key_are_those_of_the_configuration(synthesized: Synthesized) -> None:
    key = "arn:aws:kms:us-west-2:111122223333:key/1234abcd"
    found = synthesized(CONFIGURATION.format(observability=f"retention_days: 30, kms_key_arn: '{key}'"))
    workspace = found.only(STACK, "AWS::APS::Workspace")
    assert workspace["WorkspaceConfiguration"] == {"RetentionPeriodInDays": 30}
    assert workspace["KmsKeyArn"] == key


def test_the_free_space_of_lustre_is_the_sum_of_one_minute(managed: Synthesis) -> None:
    [alarm] = [
        one["Properties"]
        for one in managed.resources(STACK, "AWS::CloudWatch::Alarm")
        if one["Properties"].get("MetricName") == "FreeDataStorageCapacity"
    ]
    assert (alarm["Statistic"], alarm["Period"]) == ("Sum", 60)
    assert alarm["Threshold"] == 4800 * 2**30 / 10
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert alarm["TreatMissingData"] == "ignore"


def test_the_free_space_of_openzfs_is_a_share_of_its_own_size(
    managed: Synthesis, synthesized: Synthesized
) -> None:
    existing = CONFIGURATION.format(observability="storage_free_percent: 20").replace(
        "storage: {lustre", "storage: {openzfs: {existing: {file_system_id: fs-0123456789abcdef0}}, lustre"
    )
    for synthesis, free in ((managed, 10), (synthesized(existing), 20)):
        [alarm] = [
            one["Properties"]
            for one in synthesis.resources(STACK, "AWS::CloudWatch::Alarm")
            if "Metrics" in one["Properties"]
        ]
        metrics = {one["Id"]: one for one in alarm["Metrics"]}
        assert {
            name: one["MetricStat"]["Metric"]["MetricName"]
            for name, one in metrics.items()
            if "MetricStat" in one
        } == {"used": "UsedStorageCapacity", "size": "StorageCapacity"}
        [expression] = [one["Expression"] for one in metrics.values() if "Expression" in one]
        share = eval(expression, {"used": 15, "size": 20})
        assert share == 25
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (free, "LessThanThreshold")
        assert alarm["TreatMissingData"] == "ignore"
        named = [
            rule["Properties"]["EventPattern"]["detail"]["alarmName"]
            for rule in synthesis.resources(STACK, "AWS::Events::Rule")
            if rule["Properties"].get("EventPattern", {}).get("source") == ["aws.cloudwatch"]
        ]
        assert any("OpenZfsSpaceAlarm" in json.dumps(each) for each in named)


def test_people_hear_of_the_end_of_their_reservations_alone(managed: Synthesis) -> None:
    patterns = [
        rule["Properties"]["EventPattern"]
        for rule in managed.resources(STACK, "AWS::Events::Rule")
        if rule["Properties"].get("EventPattern", {}).get("source") == ["aws.ec2"]
    ]
    assert [one["detail"]["capacity-reservation-id"] for one in patterns] == [["cr-0123456789abcdef0"]] * 2
    kinds = {kind for one in patterns for kind in one["detail-type"]}
    assert {"Capacity Block Expiration Warning", "EC2 Capacity Reservation Expired"} <= kinds


def test_an_isolated_network_reaches_the_workspace(synthesized: Synthesized) -> None:
    text = CONFIGURATION.format(observability="") + "network: {isolated: true}\n"
    services = json.dumps(synthesized(text).resources("NetworkStack", "AWS::EC2::VPCEndpoint"))
    assert "aps-workspaces" in services


def test_user_data_is_a_script_that_names_its_variables() -> None:
    from trainforge.observability.grafana_instance import user_data

    text = user_data({"VERSION": "1"})
    assert text.startswith("#!/bin/bash\nVERSION='1'\n")
    assert len(base64.b64encode(text.encode())) < 16384
