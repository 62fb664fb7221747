"""The workspace of Amazon Managed Prometheus that receives the metrics of a deployment, with its rules and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_aps as aps
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from catalog.observability import Severity
from trainforge.observability.alert_manager import alert_manager_definition

_SERVICE = "aps.amazonaws.com"


@dataclass(frozen=True, slots=True)
class WorkspaceOptions:
    """Options of a new workspace: how long it keeps samples, and the key that encrypts them (None: AWS's own)."""

    retention_days: int
    kms_key_arn: str | None = None


class MetricsWorkspace(Construct):
    """A workspace with alert rules: a new one with an alert manager that sends to topics, or an existing one.

    `arn`, `workspace_id` and `url` (without a slash at its end) name it. The alert manager of an existing workspace and
    its log are its owner's. `rules` is the text of a rules file of Prometheus; None where another deployment's rules
    read the series of this one.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: str,
        topics: Mapping[Severity, sns.ITopic],
        rules: str | None,
        options: WorkspaceOptions | None,
        existing_id: str | None = None,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        if existing_id:
            self.workspace_id = existing_id
            self.arn = stack.format_arn(service="aps", resource="workspace", resource_name=existing_id)
        else:
            assert options, "a new workspace has options"
            workspace = aps.CfnWorkspace(
                self,
                "Workspace",
                alias=deployment,
                kms_key_arn=options.kms_key_arn,
                alert_manager_definition=alert_manager_definition(
                    {severity: topic.topic_arn for severity, topic in topics.items()},
                    deployment=deployment,
                    region=stack.region,
                ),
                # Messages that a topic refuses, and rules that fail, are told nowhere else.
                logging_configuration=aps.CfnWorkspace.LoggingConfigurationProperty(
                    log_group_arn=self._log(deployment, removal_policy)
                ),
            )
            workspace.add_property_override(
                "WorkspaceConfiguration", {"RetentionPeriodInDays": options.retention_days}
            )
            workspace.apply_removal_policy(removal_policy)
            self.workspace_id, self.arn = workspace.attr_workspace_id, workspace.attr_arn
            for topic in topics.values():
                self._allow_publishing(topic)
        self.url = f"https://aps-workspaces.{stack.region}.{stack.url_suffix}/workspaces/{self.workspace_id}"
        if rules is not None:
            # A namespace of the deployment's own, so that deployments can share a workspace.
            aps.CfnRuleGroupsNamespace(
                self, "Rules", workspace=self.arn, name=f"trainforge-{deployment}", data=rules
            )

    @property
    def remote_write_url(self) -> str:
        """The address that collectors send samples to."""
        return f"{self.url}/api/v1/remote_write"

    def write_statement(self) -> iam.PolicyStatement:
        """Return what lets a collector send samples to this workspace and no other."""
        return iam.PolicyStatement(actions=["aps:RemoteWrite"], resources=[self.arn])

    def grant_query(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a Grafana read samples, show alerts and silence them, of this workspace and no other.

        Source of the actions on alerts: Amazon Managed Grafana guide, "Visualize alerts from Amazon Managed Service
        for Prometheus".
        """
        return iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[
                "aps:DeleteAlertManagerSilence",
                "aps:DescribeWorkspace",
                # A silence that is edited is read by its id.
                "aps:GetAlertManagerSilence",
                "aps:GetAlertManagerStatus",
                "aps:GetLabels",
                "aps:GetMetricMetadata",
                "aps:GetSeries",
                "aps:ListAlertManagerAlertGroups",
                "aps:ListAlertManagerAlerts",
                "aps:ListAlertManagerSilences",
                "aps:ListAlerts",
                "aps:ListRules",
                "aps:PutAlertManagerSilences",
                "aps:QueryMetrics",
            ],
            resource_arns=[self.arn],
        )

    def _log(self, deployment: str, removal_policy: cdk.RemovalPolicy) -> str:
        """Return the ARN of a new log group, by the prefix that needs no resource policy of its own.

        Source: CloudWatch Logs guide, "Enabling logging from AWS services".
        """
        group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/vendedlogs/prometheus/{deployment}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=removal_policy,
        )
        return group.log_group_arn

    def _allow_publishing(self, topic: sns.ITopic) -> None:
        """Let the alert manager of this workspace publish to a topic of ours; the policy of another's is its owner's.

        Source: Amazon Managed Prometheus guide, "Giving Amazon Managed Service for Prometheus permission to send
        messages to your Amazon SNS topic".
        """
        if not isinstance(topic, sns.Topic):
            return
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(_SERVICE)],
                actions=["sns:GetTopicAttributes", "sns:Publish"],
                resources=[topic.topic_arn],
                conditions={
                    "ArnEquals": {"aws:SourceArn": self.arn},
                    "StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account},
                },
            )
        )


def allow_alert_manager(key: kms.Key) -> None:
    """Let alert managers of this account encrypt messages with the key of a topic.

    Not of one workspace: the workspace names the topic, whose key this is, and would be named by it.
    """
    stack = cdk.Stack.of(key)
    key.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal(_SERVICE)],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
        )
    )
