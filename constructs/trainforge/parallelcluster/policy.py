"""The policy of ParallelCluster nodes, in addition to ParallelCluster's own."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from trainforge.acknowledgement import acknowledge_wildcards


class NodePolicy(iam.ManagedPolicy):
    """Sessions by Session Manager, and the parameter with the cluster's info.

    The actions are those that Session Manager documents as the least; AmazonSSMManagedInstanceCore would let nodes
    read every parameter of the account.
    """

    def __init__(self, scope: Construct, construct_id: str, *, path: str, info_parameter: str) -> None:
        super().__init__(
            scope,
            construct_id,
            path=path,
            description="Nodes of a ParallelCluster: sessions, and the cluster info",
        )
        self.add_statements(
            iam.PolicyStatement(
                actions=[
                    "ssm:UpdateInstanceInformation",
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                resources=["*"],
            ),
            iam.PolicyStatement(
                actions=["ssm:GetParameter"],
                resources=[
                    cdk.Stack.of(self).format_arn(
                        service="ssm", resource="parameter", resource_name=info_parameter.removeprefix("/")
                    )
                ],
            ),
        )
        acknowledge_wildcards(self, "Session Manager's channels take no resource", "*")
