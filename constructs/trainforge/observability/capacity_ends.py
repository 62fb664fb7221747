"""Notice before reserved capacity ends: a metric of the hours until then, and alarms on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from catalog.observability import CAPACITY_NAMESPACE, HOURS_UNTIL_END
from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.construct_ids import pascal
from trainforge.handler_function import handler_function, handler_role
from trainforge.notifications import Notifications

_EVERY = cdk.Duration.minutes(30)
_PERIOD = cdk.Duration.hours(1)
"""Two samples: one call that fails leaves no gap."""


@dataclass(frozen=True, slots=True)
class NamedCapacity:
    """Reserved capacity by id or ARN, and the pools whose nodes it reserves."""

    name: str
    pools: tuple[str, ...]

    @property
    def service(self) -> str:
        """The service of an ARN; ec2 of an id."""
        return self.name.split(":")[2] if self.name.startswith("arn:") else "ec2"

    @property
    def short(self) -> str:
        """The value of the dimension `Reservation`: an id, or of an ARN what is after the account."""
        return self.name.split(":", 5)[-1]


@dataclass(frozen=True, slots=True)
class EndThresholds:
    """Hours before an end at which people are notified."""

    warning_hours: int
    critical_hours: int


class CapacityEnds(Construct):
    """A function that publishes the hours until each reservation ends, and two alarms for each, sent to topics.

    An alarm changes its state once before an end, and again when the end moves away. It keeps its state while there is
    no sample; an alarm of its own says that the function fails. `runbook` is the page that alarms name.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: str,
        capacity: Sequence[NamedCapacity],
        thresholds: EndThresholds,
        warning: Notifications,
        critical: Notifications,
        runbook: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._deployment, self._runbook = deployment, runbook
        self.function = self._function(capacity)
        events.Rule(
            self,
            "Schedule",
            description="Reads when reserved capacity ends",
            schedule=events.Schedule.rate(_EVERY),
            targets=[
                targets.LambdaFunction(
                    self.function,
                    event=events.RuleTargetInput.from_object(
                        {"reservations": [each.name for each in capacity]}
                    ),
                )
            ],
        )
        for level, hours in (
            ("Warning", thresholds.warning_hours),
            ("Critical", thresholds.critical_hours),
        ):
            for each in capacity:
                self._alarm(f"{level}{pascal(each.pools[0])}", each, hours)
        self._failing()
        for notifications, level in ((warning, "Warning"), (critical, "Critical"), (warning, "Failing")):
            self._notify(notifications, level)

    def _function(self, capacity: Sequence[NamedCapacity]) -> lambda_.Function:
        role = handler_role(self)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringEquals": {"cloudwatch:namespace": CAPACITY_NAMESPACE}},
            )
        )
        named = {
            service: [each.name for each in capacity if each.service == service]
            for service in ("ec2", "resource-groups", "sagemaker")
        }
        if named["ec2"] or named["resource-groups"]:
            role.add_to_policy(
                iam.PolicyStatement(actions=["ec2:DescribeCapacityReservations"], resources=["*"])
            )
        for service, action in (
            ("resource-groups", "resource-groups:ListGroupResources"),
            ("sagemaker", "sagemaker:DescribeTrainingPlan"),
        ):
            if named[service]:
                role.add_to_policy(iam.PolicyStatement(actions=[action], resources=named[service]))
        acknowledge_wildcards(
            role,
            "ec2:DescribeCapacityReservations and cloudwatch:PutMetricData take no resource; "
            "the namespace bounds the second",
            "*",
        )
        return handler_function(
            self,
            name="capacity_ends",
            description="Publishes the hours until reserved capacity ends",
            role=role,
            timeout_minutes=1,
            environment={
                "NAMESPACE": CAPACITY_NAMESPACE,
                "METRIC": HOURS_UNTIL_END,
                "DEPLOYMENT": self._deployment,
            },
        )

    def _alarm(self, construct_id: str, capacity: NamedCapacity, hours: int) -> None:
        cloudwatch.Alarm(
            self,
            construct_id,
            alarm_description=(
                f"{self._deployment}: {capacity.short}, which has the nodes of {', '.join(capacity.pools)}, ends in "
                f"less than {hours} hours ({self._runbook})"
            ),
            metric=cloudwatch.Metric(
                namespace=CAPACITY_NAMESPACE,
                metric_name=HOURS_UNTIL_END,
                dimensions_map={"Deployment": self._deployment, "Reservation": capacity.short},
                statistic="Minimum",
                period=_PERIOD,
            ),
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            threshold=hours,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.IGNORE,
        )

    def _failing(self) -> None:
        cloudwatch.Alarm(
            self,
            "Failing",
            alarm_description=(
                f"{self._deployment}: it cannot be read when reserved capacity ends; the function's log says why "
                f"({self._runbook})"
            ),
            metric=self.function.metric_errors(period=_PERIOD, statistic="Sum"),
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            threshold=1,
            # One call that fails, with all its repetitions, is within an hour.
            evaluation_periods=2,
            treat_missing_data=cloudwatch.TreatMissingData.IGNORE,
        )

    def _notify(self, notifications: Notifications, level: str) -> None:
        """Send the changes of the alarms of a level, by the beginning of the names that CloudFormation makes.

        All names would be more than a pattern may have: EventBridge takes 2,048 characters.
        """
        prefix = f"{cdk.Stack.of(self).stack_name}-{self.node.id}{level}"
        notifications.on(
            f"{self.node.id}{level}",
            description=f"The end of reserved capacity: {level.lower()}",
            source="aws.cloudwatch",
            detail_types=["CloudWatch Alarm State Change"],
            detail={"alarmName": [{"prefix": prefix}], "state": {"value": ["ALARM", "OK"]}},
        )
