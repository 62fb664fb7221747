"""A workspace of Amazon Managed Grafana with the deployment's data sources and dashboards."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_grafana as grafana
from aws_cdk import aws_iam as iam
from constructs import Construct

from trainforge.acknowledgement import acknowledge_wildcards, spelled_arn
from trainforge.handler_function import handler_function, handler_role
from trainforge.observability.dashboard_files import DashboardFiles
from trainforge.observability.workspace import MetricsWorkspace


def allow_cloudwatch(role: iam.Role) -> None:
    """Let a Grafana read metrics and alarms of CloudWatch, which take no resource.

    Those of the role that Amazon Managed Grafana makes for CloudWatch, without logs and tags (Amazon Managed Grafana
    guide, "Permissions for data sources").
    """
    role.add_to_policy(
        iam.PolicyStatement(
            actions=[
                "cloudwatch:DescribeAlarms",
                "cloudwatch:DescribeAlarmsForMetric",
                "cloudwatch:GetMetricData",
                "cloudwatch:ListMetrics",
            ],
            resources=["*"],
        )
    )
    acknowledge_wildcards(role, "metrics and alarms of CloudWatch take no resource", "*")


class ManagedGrafana(Construct):
    """A workspace that people enter through IAM Identity Center, with a role that only reads.

    `scrape_seconds` is the time between two samples, by which Grafana chooses the time of rates. Who may enter is
    decided in the service: `aws grafana update-permissions`. Data sources and dashboards are put there by a function
    of ours, with a token that is valid for its call.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: str,
        workspace: MetricsWorkspace,
        dashboards: DashboardFiles,
        scrape_seconds: int,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "grafana.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
            ),
            description="Grafana, reading metrics",
        )
        workspace.grant_query(self.role)
        allow_cloudwatch(self.role)
        self.workspace = grafana.CfnWorkspace(
            self,
            "Workspace",
            name=deployment,
            account_access_type="CURRENT_ACCOUNT",
            authentication_providers=["AWS_SSO"],
            permission_type="CUSTOMER_MANAGED",
            role_arn=self.role.role_arn,
            data_sources=["CLOUDWATCH", "PROMETHEUS"],
        )
        self.workspace.node.add_dependency(self.role)
        self._fill(workspace, dashboards, scrape_seconds)

    @property
    def url(self) -> str:
        """The address that people open."""
        return f"https://{self.workspace.attr_endpoint}"

    def _fill(self, workspace: MetricsWorkspace, dashboards: DashboardFiles, scrape_seconds: int) -> None:
        stack = cdk.Stack.of(self)
        content = Construct(self, "Content")
        role = handler_role(content)
        arn = stack.format_arn(
            service="grafana", resource="/workspaces", resource_name=self.workspace.attr_id
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "grafana:CreateWorkspaceServiceAccount",
                    "grafana:CreateWorkspaceServiceAccountToken",
                    "grafana:DeleteWorkspaceServiceAccount",
                    "grafana:DescribeWorkspace",
                ],
                resources=[arn],
            )
        )
        objects = f"{dashboards.prefix}/*"
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject"], resources=[dashboards.bucket.arn_for_objects(objects)]
            )
        )
        acknowledge_wildcards(
            role, "the dashboards, one object each", f"{spelled_arn(dashboards.bucket, role)}/{objects}"
        )
        function = handler_function(
            content,
            name="grafana_content",
            description="Puts data sources and dashboards into a Grafana",
            role=role,
            timeout_minutes=5,
        )
        resource = cdk.CustomResource(
            content,
            "Resource",
            resource_type="Custom::TrainforgeGrafanaContent",
            service_token=function.function_arn,
            service_timeout=cdk.Duration.minutes(6),
            properties={
                "WorkspaceId": self.workspace.attr_id,
                "MetricsUrl": workspace.url,
                "ScrapeSeconds": scrape_seconds,
                "Region": stack.region,
                "Bucket": dashboards.bucket.bucket_name,
                "Dashboards": dashboards.keys,
                "Uids": dashboards.uids,
            },
        )
        resource.node.add_dependency(role, dashboards.upload)
