"""ParallelCluster's own provider of the custom resource, limited to one cluster."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from catalog.versions import PARALLELCLUSTER
from trainforge.parallelcluster.names import iam_path

_IAM_WRITES = [
    "iam:AddRoleToInstanceProfile",
    "iam:AttachRolePolicy",
    "iam:CreateInstanceProfile",
    "iam:CreateRole",
    "iam:DeleteInstanceProfile",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "iam:RemoveRoleFromInstanceProfile",
]
_GLOBAL_SERVICES = ["iam:*", "route53:*", "sts:*"]
"""They answer from one region whatever the caller's."""


def template_url(region: str, url_suffix: str) -> str:
    """Return where ParallelCluster publishes the provider's template of the pinned version, in each region."""
    return (
        f"https://{region}-aws-parallelcluster.s3.{region}.{url_suffix}/parallelcluster/"
        f"{PARALLELCLUSTER}/templates/custom_resource/cluster.yaml"
    )


class ClusterProvider(Construct):
    """The function that makes clusters, as a nested stack from ParallelCluster's own template.

    Its role may do in the whole account what any cluster needs, IAM included. The template takes no narrower role
    that would hold over versions, but further policies: the one given here denies what this one cluster does not
    need. Roles, profiles and stacks are those of this cluster by name, and policies that it attaches are
    `attachable` or the CloudWatch agent's; nothing happens in another region.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        attachable: Sequence[iam.IManagedPolicy],
    ) -> None:
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        self.restriction = iam.ManagedPolicy(
            self,
            "Restriction",
            description=f"What ParallelCluster's provider may not do: anything but the cluster {cluster_name}",
            statements=_denials(stack, cluster_name, attachable),
        )
        self.stack = cdk.CfnStack(
            self,
            "Stack",
            template_url=template_url(stack.region, stack.url_suffix),
            parameters={"AdditionalIamPolicies": self.restriction.managed_policy_arn},
        )

    @property
    def service_token(self) -> str:
        """The ServiceToken of the custom resource."""
        return self.stack.get_att("Outputs.ServiceToken").to_string()


def _denials(
    stack: cdk.Stack, cluster_name: str, attachable: Sequence[iam.IManagedPolicy]
) -> list[iam.PolicyStatement]:
    def arn(
        service: str, resource: str, name: str, region: str | None = None, account: str | None = None
    ) -> str:
        return stack.format_arn(
            service=service, resource=resource, resource_name=name, region=region, account=account
        )

    own_iam = [
        arn("iam", kind, f"{iam_path(cluster_name)[1:]}*", region="") for kind in ("role", "instance-profile")
    ]
    agent = arn("iam", "policy", "CloudWatchAgentServerPolicy", region="", account="aws")
    return [
        iam.PolicyStatement(
            sid="OtherRoles", effect=iam.Effect.DENY, actions=_IAM_WRITES, not_resources=own_iam
        ),
        iam.PolicyStatement(
            sid="OtherPolicies",
            effect=iam.Effect.DENY,
            actions=["iam:AttachRolePolicy"],
            resources=["*"],
            conditions={
                "ArnNotEquals": {
                    "iam:PolicyARN": [*(policy.managed_policy_arn for policy in attachable), agent]
                }
            },
        ),
        iam.PolicyStatement(
            sid="OtherStacks",
            effect=iam.Effect.DENY,
            actions=[
                "cloudformation:CreateStack",
                "cloudformation:DeleteStack",
                "cloudformation:UpdateStack",
            ],
            not_resources=[
                arn("cloudformation", "stack", f"{cluster_name}/*"),
                arn("cloudformation", "stack", f"{cluster_name}-*"),
            ],
        ),
        iam.PolicyStatement(
            sid="OtherRegions",
            effect=iam.Effect.DENY,
            not_actions=_GLOBAL_SERVICES,
            resources=["*"],
            conditions={"StringNotEquals": {"aws:RequestedRegion": stack.region}},
        ),
    ]
