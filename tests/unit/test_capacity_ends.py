"""Notice before reserved capacity ends: what the function reads and publishes, its rights, and the alarms' routes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from programs.functions.capacity_ends import index
from tests.synthesis import Synthesis
from trainforge.observability.capacity_ends import NamedCapacity

STACK = "ObservabilityStack"
CR, OTHER = "cr-0123456789abcdef0", "cr-0123456789abcdef1"
GROUP = "arn:aws:resource-groups:us-west-2:111122223333:group/blocks"
PLAN = "arn:aws:sagemaker:us-west-2:111122223333:training-plan/spring"
NOW = datetime(2026, 12, 1, tzinfo=UTC)
CONFIGURATION = f"""
name: test
region: us-west-2
availability_zones: [us-west-2a]
pools:
  cpu: {{instance_type: c6i.4xlarge, nodes: 1}}
  block:
    instance_type: p5.48xlarge
    nodes: 1
    capacity: {{source: capacity-block, reservation_id: {CR}}}
  same:
    instance_type: p5.48xlarge
    nodes: 1
    capacity: {{source: capacity-block, reservation_id: {CR}}}
  grouped:
    instance_type: p5.48xlarge
    nodes: 1
    capacity: {{source: reservation-group, resource_group_arn: "{GROUP}"}}
  planned:
    instance_type: p5.48xlarge
    nodes: 1
    capacity: {{source: training-plan, training_plan_arn: "{PLAN}"}}
storage: {{lustre: {{capacity_gib: 1200}}}}
notifications: {{emails: [a@example.com]}}
observability: {{capacity_end: {{warning_hours: 72}}, runbooks_url: "https://git.example.com/runbooks/"}}
hyperpod: {{pools: [planned, cpu]}}
parallelcluster: {{pools: [block, same, grouped]}}
"""


def after(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


class Account:
    """Clients with answers that each test queues; a call that was not queued is an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        services = ("ec2", "resource-groups", "sagemaker", "cloudwatch")
        given = {"region_name": "us-west-2", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
        self.clients = {name: boto3.client(name, **given) for name in services}  # type: ignore[call-overload]
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        monkeypatch.setattr(index.boto3, "client", lambda name: self.clients[name])

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return NOW.astimezone(tz)

        monkeypatch.setattr(index, "datetime", Clock)
        for name, value in {"NAMESPACE": "Some/Space", "METRIC": "Hours", "DEPLOYMENT": "demo"}.items():
            monkeypatch.setenv(name, value)

    def reservations(self, *found: dict[str, Any], ids: list[str] | None = None) -> None:
        named = [{"CapacityReservationId": CR, "State": "active", **each} for each in found]
        self.stubs["ec2"].add_response(
            "describe_capacity_reservations",
            {"CapacityReservations": named},
            {"CapacityReservationIds": ids or [CR]},
        )

    def group(self, *members: str) -> None:
        resources = [
            {"Identifier": {"ResourceArn": arn, "ResourceType": kind}}
            for kind, arn in (
                ("AWS::EC2::Host", "arn:aws:ec2:us-west-2:111122223333:dedicated-host/h-0"),
                *(
                    (
                        "AWS::EC2::CapacityReservation",
                        f"arn:aws:ec2:us-west-2:111122223333:capacity-reservation/{each}",
                    )
                    for each in members
                ),
            )
        ]
        self.stubs["resource-groups"].add_response(
            "list_group_resources", {"Resources": resources}, {"Group": GROUP}
        )

    def plan(self, status: str = "Active", *parts: tuple[str, float], end: float | None = None) -> None:
        summaries = [
            {
                "ReservedCapacityArn": "arn:aws:sagemaker:us-west-2:111122223333:reserved-capacity/part",
                "InstanceType": "ml.p5.48xlarge",
                "TotalInstanceCount": 1,
                "Status": state,
                "EndTime": after(hours),
            }
            for state, hours in parts
        ]
        times = {} if end is None else {"EndTime": after(end)}
        self.stubs["sagemaker"].add_response(
            "describe_training_plan",
            {
                "TrainingPlanArn": PLAN,
                "TrainingPlanName": "spring",
                "Status": status,
                "ReservedCapacitySummaries": summaries,
                **times,
            },
            {"TrainingPlanName": PLAN},
        )

    def publishes(self, **hours: float) -> None:
        data = [
            {
                "MetricName": "Hours",
                "Dimensions": [
                    {"Name": "Deployment", "Value": "demo"},
                    {"Name": "Reservation", "Value": name},
                ],
                "Timestamp": NOW,
                "Value": value,
            }
            for name, value in hours.items()
        ]
        self.stubs["cloudwatch"].add_response(
            "put_metric_data", {}, {"Namespace": "Some/Space", "MetricData": data}
        )

    def handle(self, *names: str) -> dict[str, float]:
        try:
            return index.handler({"reservations": list(names)}, None)
        finally:
            for stub in self.stubs.values():
                stub.assert_no_pending_responses()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(monkeypatch)


@pytest.mark.parametrize(
    ("found", "hours"),
    [
        ({"EndDate": after(47.5), "EndDateType": "limited"}, 47.5),
        ({"EndDate": after(-1), "EndDateType": "limited"}, 0),
        ({"EndDateType": "unlimited"}, index.MAX_HOURS),
        ({"EndDate": after(20_000), "EndDateType": "limited"}, index.MAX_HOURS),
        ({"State": "scheduled", "EndDate": after(100)}, 100),
        *(
            ({"State": state, "EndDate": after(100)}, 0)
            for state in ("expired", "cancelled", "cancelling", "failed", "payment-failed", "unsupported")
        ),
    ],
    ids=str,
)
def test_the_hours_of_a_reservation(account: Account, found: dict[str, Any], hours: float) -> None:
    account.reservations(found)
    account.publishes(**{CR: hours})
    assert account.handle(CR) == {CR: hours}


def test_a_group_ends_with_the_next_of_its_reservations_that_has_not_ended(account: Account) -> None:
    account.group(CR, OTHER)
    account.reservations({"State": "expired"}, {"EndDate": after(30)}, {}, ids=[CR, OTHER])
    account.publishes(**{"group/blocks": 30})
    account.handle(GROUP)
    account.group(CR)
    account.reservations({"State": "expired"})
    account.publishes(**{"group/blocks": 0})
    account.handle(GROUP)


@pytest.mark.parametrize(
    ("status", "parts", "end", "hours"),
    [
        ("Active", [("Expired", -30), ("Active", 9), ("Scheduled", 90)], 90, 9),
        ("Active", [("Active", -1), ("Scheduled", 90)], 90, 90),
        ("Scheduled", [], 200, 200),
        ("Expired", [("Expired", -30)], -30, 0),
        ("Failed", [], None, 0),
    ],
)
def test_the_hours_of_a_training_plan_are_those_of_its_next_part(
    account: Account, status: str, parts: list[tuple[str, float]], end: float | None, hours: float
) -> None:
    account.plan(status, *parts, end=end)
    account.publishes(**{"training-plan/spring": hours})
    account.handle(PLAN)


def test_all_that_cannot_be_read_is_an_error_and_the_rest_is_published(account: Account) -> None:
    account.stubs["ec2"].add_client_error(
        "describe_capacity_reservations",
        "InvalidCapacityReservationId.NotFound",
        expected_params={"CapacityReservationIds": [OTHER]},
    )
    account.group()
    account.plan("Pending")
    account.reservations({"EndDate": after(5)})
    account.publishes(**{CR: 5})
    with pytest.raises(RuntimeError) as caught:
        account.handle(OTHER, GROUP, PLAN, CR)
    text = str(caught.value)
    assert f"'{OTHER}': " in text
    assert "NotFound" in text
    assert f"'{GROUP}': the group has no capacity reservation" in text
    assert f"'{PLAN}': the training plan has no end time, and its status is 'Pending'" in text
    assert CR not in text


@pytest.mark.parametrize("found", [[], [{"EndDateType": "limited"}]], ids=str)
def test_an_answer_without_an_end_is_an_error(account: Account, found: list[dict[str, Any]]) -> None:
    account.reservations(*found)
    with pytest.raises(RuntimeError, match=f"'{CR}': "):
        account.handle(CR)


def test_a_metric_that_is_refused_is_an_error(account: Account) -> None:
    account.reservations({"EndDate": after(5)})
    account.stubs["cloudwatch"].add_client_error("put_metric_data", "AccessDenied", expected_params=None)
    with pytest.raises(Exception, match="AccessDenied"):
        account.handle(CR)


@pytest.mark.parametrize("name", [CR, GROUP, PLAN])
def test_function_and_alarms_name_a_reservation_alike(name: str) -> None:
    assert NamedCapacity(name, ("gpu",)).short == index._short(name)


@pytest.fixture
def found(synthesized: Callable[[str], Synthesis]) -> Synthesis:
    return synthesized(CONFIGURATION)


def _statements(found: Synthesis) -> dict[str, dict[str, Any]]:
    return {
        statement["Action"]: statement
        for name, policy in found.templates[STACK]["Resources"].items()
        if policy["Type"] == "AWS::IAM::Policy" and name.startswith("CapacityEnds")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if isinstance(statement["Action"], str)
    }


def test_the_function_reads_what_the_configuration_names_alone(found: Synthesis) -> None:
    statements = _statements(found)
    assert set(statements) == {
        "cloudwatch:PutMetricData",
        "ec2:DescribeCapacityReservations",
        "resource-groups:ListGroupResources",
        "sagemaker:DescribeTrainingPlan",
    }
    assert statements["resource-groups:ListGroupResources"]["Resource"] == GROUP
    assert statements["sagemaker:DescribeTrainingPlan"]["Resource"] == PLAN
    condition = statements["cloudwatch:PutMetricData"]["Condition"]
    assert condition == {"StringEquals": {"cloudwatch:namespace": "Trainforge/Capacity"}}
    [rule] = [
        one["Properties"]
        for one in found.resources(STACK, "AWS::Events::Rule")
        if "ScheduleExpression" in one["Properties"]
    ]
    [target] = rule["Targets"]
    assert json.loads(target["Input"]) == {"reservations": [CR, GROUP, PLAN]}


def test_each_reservation_has_an_alarm_of_each_severity(found: Synthesis) -> None:
    alarms = {
        name: one["Properties"]
        for name, one in found.templates[STACK]["Resources"].items()
        if one["Type"] == "AWS::CloudWatch::Alarm" and name.startswith("CapacityEnds")
    }
    thresholds = {
        (alarm["Threshold"], dimension["Value"])
        for alarm in alarms.values()
        if alarm.get("MetricName") == "HoursUntilEnd"
        for dimension in alarm["Dimensions"]
        if dimension["Name"] == "Reservation"
    }
    names = (CR, "group/blocks", "training-plan/spring")
    assert thresholds == {(hours, name) for hours in (72, 12) for name in names}
    block = next(alarm for name, alarm in alarms.items() if name.startswith("CapacityEndsWarningBlock"))
    assert block["ComparisonOperator"] == "LessThanThreshold"
    assert block["TreatMissingData"] == "ignore"
    assert "nodes of block, same, " in block["AlarmDescription"]
    assert "https://git.example.com/runbooks/reservation-ending.md" in block["AlarmDescription"]
    [failing] = [alarm for alarm in alarms.values() if alarm["MetricName"] == "Errors"]
    assert failing["TreatMissingData"] == "ignore"


def test_each_alarm_reaches_one_topic_by_the_beginning_of_its_name(found: Synthesis) -> None:
    resources = found.templates[STACK]["Resources"]
    routes = {}
    for rule in found.resources(STACK, "AWS::Events::Rule"):
        pattern = rule["Properties"].get("EventPattern", {})
        named = pattern.get("detail", {}).get("alarmName", [])
        if named and isinstance(named[0], dict) and "prefix" in named[0]:
            [target] = rule["Properties"]["Targets"]
            assert pattern["detail"]["state"]["value"] == ["ALARM", "OK"]
            routes[named[0]["prefix"]] = target["Arn"]["Ref"]
    alarms = [
        name
        for name, one in resources.items()
        if one["Type"] == "AWS::CloudWatch::Alarm" and name.startswith("CapacityEnds")
    ]
    assert len(alarms) == 7
    for name in alarms:
        severity = "Critical" if name.startswith("CapacityEndsCritical") else "Warning"
        [topic] = [
            topic for prefix, topic in routes.items() if f"test-observability-{name}".startswith(prefix)
        ]
        assert topic.startswith(f"{severity}Alerts")


def test_without_reserved_capacity_there_is_no_function(synthesized: Callable[[str], Synthesis]) -> None:
    text = CONFIGURATION.split("  block:")[0] + CONFIGURATION[CONFIGURATION.index("storage:") :]
    text = text.replace("[planned, cpu]", "[cpu]").split("parallelcluster:")[0]
    resources = synthesized(text).templates[STACK]["Resources"]
    assert not [name for name in resources if name.startswith("CapacityEnds")]
