"""The emulator's Amazon Managed Prometheus and Amazon Managed Grafana: what they keep and what they refuse."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from emulator.server import Emulator
from tests.emulator.formation import Formation, att, resources

WORKSPACE = {
    "Type": "AWS::Grafana::Workspace",
    "Properties": {
        "AccountAccessType": "CURRENT_ACCOUNT",
        "AuthenticationProviders": ["AWS_SSO"],
        "PermissionType": "SERVICE_MANAGED",
    },
}


def request(address: str, token: str, method: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    asked = urllib.request.Request(
        address,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_token_opens_a_workspace_until_its_account_is_deleted(
    emulator: Emulator, formation: Formation
) -> None:
    stack = formation.created({"Resources": {"Grafana": WORKSPACE}})
    grafana = emulator.client("grafana")
    [workspace] = grafana.list_workspaces()["workspaces"]
    account = grafana.create_workspace_service_account(
        workspaceId=workspace["id"], name="a", grafanaRole="ADMIN"
    )["id"]
    token = grafana.create_workspace_service_account_token(
        workspaceId=workspace["id"], serviceAccountId=account, name="t", secondsToLive=60
    )["serviceAccountToken"]["key"]
    address = f"{workspace['endpoint']}/api"
    assert request(f"{address}/folders", token, "POST", {"uid": "a", "title": "A"})[0] == 200
    assert request(f"{address}/folders", token, "POST", {"uid": "a", "title": "A"})[0] == 409
    dashboard = {"dashboard": {"uid": "d", "title": "D"}, "folderUid": "a", "overwrite": False}
    assert request(f"{address}/dashboards/db", token, "POST", dashboard)[0] == 200
    assert request(f"{address}/dashboards/db", token, "POST", dashboard)[0] == 412
    assert request(f"{address}/dashboards", token, "GET")[1] == [{"uid": "d", "title": "D"}]
    grafana.delete_workspace_service_account(workspaceId=workspace["id"], serviceAccountId=account)
    assert request(f"{address}/folders", token, "GET")[0] == 401
    assert formation.delete(stack) == "DELETE_COMPLETE"
    assert grafana.list_workspaces()["workspaces"] == []


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("alertmanager_config: 3", "is not one"),
        ("alertmanager_config: |\n  route: {receiver: a}\n  receivers: []", "undefined receiver 'a'"),
        (
            "alertmanager_config: |\n  route: {receiver: a}\n  receivers: [{name: a, sns_configs: [{topic_arn: b}]}]",
            "which is not a topic",
        ),
    ],
)
def test_an_alert_manager_that_the_service_refuses_fails_its_stack(
    formation: Formation, definition: str, reason: str
) -> None:
    properties = {"AlertManagerDefinition": definition}
    name = formation.create({"Resources": {"W": {"Type": "AWS::APS::Workspace", "Properties": properties}}})
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in str(formation.reasons(name))


def test_rules_are_kept_and_replaced(emulator: Emulator, formation: Formation) -> None:
    def template(data: str) -> dict[str, Any]:
        rules = {"Workspace": {"Fn::GetAtt": ["W", "Arn"]}, "Name": "n", "Data": data}
        return {
            "Resources": {
                "W": {"Type": "AWS::APS::Workspace", "Properties": {}},
                "R": {"Type": "AWS::APS::RuleGroupsNamespace", "Properties": rules},
            }
        }

    name = formation.created(template("groups: [{name: a, rules: []}]"))
    assert formation.update(name, template("groups: [{name: b, rules: []}]")) == "UPDATE_COMPLETE"
    amp = emulator.client("amp")
    [workspace] = amp.list_workspaces()["workspaces"]
    found = amp.describe_rule_groups_namespace(workspaceId=workspace["workspaceId"], name="n")
    assert b"name: b" in found["ruleGroupsNamespace"]["data"]
    wrong = formation.create(template("no rules"))
    assert formation.status(wrong) == "ROLLBACK_COMPLETE"


def scraper(configuration: str = "scrape_configs: []", subnets: int = 2) -> dict[str, Any]:
    """Return a template of a workspace and a collector of a cluster that sends to it."""
    source = {
        "ClusterArn": "arn:aws:eks:us-west-2:123456789012:cluster/one",
        "SubnetIds": [f"subnet-{index:08x}" for index in range(subnets)],
        "SecurityGroupIds": ["sg-00000001"],
    }
    template = resources(
        Metrics=("AWS::APS::Workspace", {}),
        Scraper=(
            "AWS::APS::Scraper",
            {
                "ScrapeConfiguration": {
                    "ConfigurationBlob": base64.b64encode(configuration.encode()).decode()
                },
                "Source": {"EksConfiguration": source},
                "Destination": {"AmpConfiguration": {"WorkspaceArn": att("Metrics", "Arn")}},
            },
        ),
    )
    template["Outputs"] = {
        "Arn": {"Value": att("Scraper", "Arn")},
        "Role": {"Value": att("Scraper", "RoleArn")},
    }
    return template


def test_a_scraper_keeps_its_arn_when_its_configuration_changes(formation: Formation) -> None:
    with formation.deployed(scraper()) as name:
        held = formation.physical_id(name, "Scraper")
        assert ":scraper/s-" in held
        assert formation.outputs(name)["Arn"] == held
        assert formation.outputs(name)["Role"].startswith("arn:aws:iam::")
        changed = scraper("scrape_configs: [{job_name: nodes}]")
        assert formation.update(name, changed) == "UPDATE_COMPLETE", formation.reasons(name)
        assert (formation.physical_id(name, "Scraper"), formation.outputs(name)["Arn"]) == (held, held)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (scraper("groups: []"), "is none of Prometheus"),
        (scraper(subnets=1), "subnets in two Availability Zones"),
    ],
)
def test_a_scraper_that_the_service_refuses_fails_its_stack(
    formation: Formation, template: dict[str, Any], reason: str
) -> None:
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in formation.reasons(name)
