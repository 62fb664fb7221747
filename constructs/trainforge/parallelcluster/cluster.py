"""A Slurm cluster by AWS ParallelCluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from trainforge.notifications import Notifications
from trainforge.parallelcluster.provider import ClusterProvider


class ParallelCluster(Construct):
    """A cluster that ParallelCluster's custom resource makes from a configuration, in a stack of its own.

    `configuration` is what `cluster_configuration` returns. ParallelCluster runs its own validators over it at the
    deployment; those in `suppressed` are left out. The name is given, because it is the cluster's stack's: it must
    differ from that of the stack around it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        configuration: Mapping[str, Any],
        attachable: Sequence[iam.IManagedPolicy] = (),
        suppressed: Sequence[str] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        self.cluster_name = cluster_name
        self.provider = ClusterProvider(self, "Provider", cluster_name=cluster_name, attachable=attachable)
        properties: dict[str, Any] = {
            "ServiceToken": self.provider.service_token,
            "ClusterName": cluster_name,
            "ClusterConfiguration": dict(configuration),
            "DeletionPolicy": "Delete",
        }
        if suppressed:
            properties["SuppressValidators"] = [f"type:{validator}" for validator in suppressed]
        self.resource = cdk.CfnResource(
            self, "Cluster", type="Custom::PclusterCluster", properties=properties
        )

    def notify(self, notifications: Notifications) -> None:
        """Send alarms of the head node, and state changes of the cluster's stack, to the topic."""
        notifications.on(
            "ClusterAlarms",
            description="Alarms of the ParallelCluster's head node",
            source="aws.cloudwatch",
            detail_types=["CloudWatch Alarm State Change"],
            # As ParallelCluster names its alarms (templates/cluster_stack.py).
            detail={"alarmName": [{"prefix": f"{self.cluster_name}-HeadNode"}]},
        )
        stack_arn = cdk.Stack.of(self).format_arn(
            service="cloudformation", resource="stack", resource_name=f"{self.cluster_name}/"
        )
        notifications.on(
            "ClusterState",
            description="State changes of the ParallelCluster's stack",
            source="aws.cloudformation",
            detail_types=["CloudFormation Stack Status Change"],
            detail={"stack-id": [{"prefix": stack_arn}]},
        )

    @property
    def head_node_id(self) -> str:
        """The instance id of the head node, which sessions are opened to."""
        return self.resource.get_att("headNode.instanceId").to_string()
