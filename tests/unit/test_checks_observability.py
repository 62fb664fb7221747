"""Rules on metrics and alerts of a deployment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.configuration import GONE, found

WORKSPACE = "ws-00000000-1111-2222-3333-444444444444"
TOPIC = "arn:aws:sns:us-west-2:111122223333:on-call"
KEY = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ADMIN = {"principal_arn": "arn:aws:iam::111122223333:role/admin", "policy": "cluster-admin"}
PEOPLE = {"critical": {"emails": ["a@example.com"]}}
CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({"observability": {"alerts": PEOPLE}}, set()),
    ({"observability": {}, "notifications.emails": ["a@example.com"]}, set()),
    ({"observability": {}}, {("observability-nobody", "observability.alerts")}),
    (
        {"observability": {"alerts": {"warning": {"emails": ["a@example.com"]}}}},
        {("observability-nobody", "observability.alerts")},
    ),
    ({"observability": {"alerts": {"critical": {"topic_arn": TOPIC}}, "kms_key_arn": KEY}}, set()),
    # ids and ARNs
    ({"observability": {"workspace_id": WORKSPACE}}, set()),
    (
        {"observability": {"workspace_id": "ws-1"}},
        {("observability-workspace", "observability.workspace_id")},
    ),
    (
        {"observability": {"workspace_id": WORKSPACE, "alerts": PEOPLE, "kms_key_arn": KEY}},
        {
            ("observability-existing-workspace", "observability.alerts"),
            ("observability-existing-workspace", "observability.kms_key_arn"),
        },
    ),
    (
        {"observability": {"alerts": {"critical": {"topic_arn": TOPIC.replace("us-west-2", "us-east-1")}}}},
        {("arn-region", "observability.alerts.critical.topic_arn")},
    ),
    (
        {"observability": {"alerts": {"critical": {"topic_arn": "on-call"}}}},
        {("observability-arn", "observability.alerts.critical.topic_arn")},
    ),
    (
        {"observability": {"alerts": PEOPLE, "kms_key_arn": "alias/ours"}},
        {("observability-arn", "observability.kms_key_arn")},
    ),
    (
        {"observability": {"alerts": {"critical": {"topic_arn": TOPIC, "emails": ["a@example.com"]}}}},
        {("observability-route", "observability.alerts.critical.emails")},
    ),
    (
        {"observability": {"alerts": {"critical": {"emails": ["a@example.com", "notmail"]}}}},
        {("email-form", "observability.alerts.critical.emails.1")},
    ),
    (
        {"observability": {"workspace_id": WORKSPACE, "retention_days": 30}},
        {("observability-existing-workspace", "observability.retention_days")},
    ),
    # the end of capacity
    ({"observability": {"alerts": PEOPLE, "capacity_end": {"critical_hours": 47}}}, set()),
    (
        {"observability": {"alerts": PEOPLE, "capacity_end": {"critical_hours": 48}}},
        {("observability-capacity-end", "observability.capacity_end.critical_hours")},
    ),
    # Grafana
    (
        {"observability": {"alerts": PEOPLE, "grafana": {"instance_type": "p9.foo", "volume_gib": 20}}},
        {
            ("grafana-managed", "observability.grafana.instance_type"),
            ("grafana-managed", "observability.grafana.volume_gib"),
        },
    ),
    (
        {"observability": {"alerts": PEOPLE, "grafana": {"kind": "instance", "instance_type": "p9.foo"}}},
        {("instance-type-unknown", "observability.grafana.instance_type")},
    ),
    (
        {"observability": {"alerts": PEOPLE, "grafana": {"kind": "instance", "instance_type": "c6g.large"}}},
        {("grafana-architecture", "observability.grafana.instance_type")},
    ),
    (
        {"observability": {"alerts": PEOPLE, "grafana": {"kind": "instance"}}, "network.isolated": True},
        {
            ("grafana-isolated", "observability.grafana.kind"),
            ("observability-isolated", "hyperpod"),
        },
    ),
    # clusters
    (
        {
            "observability": {"alerts": PEOPLE},
            "hyperpod": GONE,
            "hyperpod_eks": {"pools": ["gpu"], "access": [ADMIN], "observability": {}},
        },
        set(),
    ),
    (
        {
            "observability": {"alerts": PEOPLE},
            "hyperpod": GONE,
            "hyperpod_eks": {"pools": ["gpu"], "access": [ADMIN]},
        },
        {("observability-hyperpod-eks", "hyperpod_eks.observability")},
    ),
    (
        {
            "observability": {"alerts": PEOPLE, "scrape_seconds": 15},
            "hyperpod": GONE,
            "hyperpod_eks": {"pools": ["gpu"], "access": [ADMIN], "observability": {}},
        },
        {("observability-scrape-seconds", "observability.scrape_seconds")},
    ),
    ({"observability": {"alerts": PEOPLE, "scrape_seconds": 15}}, set()),
    (
        {"observability": {"alerts": PEOPLE}, "hyperpod": GONE},
        {("observability-unused", "observability"), ("pool-unused", "pools.gpu")},
    ),
    (
        {
            "observability": {"alerts": PEOPLE},
            "hyperpod.lifecycle_scripts": {"directory": "scripts", "entry": "on_create.sh"},
        },
        {("observability-lifecycle-scripts", "hyperpod.lifecycle_scripts")},
    ),
    (
        {"observability": {"alerts": PEOPLE}, "network.isolated": True},
        {("observability-isolated", "hyperpod")},
    ),
]


@pytest.mark.parametrize(("changes", "findings"), CASES, ids=str)
def test_rules(changes: dict[str, Any], findings: set[tuple[str, str]]) -> None:
    assert found(changes) == findings
