"""Messages on the deployment's topic of what HyperPod's health monitoring agent writes to a cluster's log group."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from trainforge.acknowledgement import acknowledge, acknowledge_wildcards
from trainforge.handler_function import handler_function, handler_role


class HealthLog(Construct):
    """Forwarding of a HyperPod cluster's health records from its log group to a topic.

    With Slurm HyperPod sends no event for faults that its health monitoring agent finds; it only writes them to the
    cluster's log group `/aws/sagemaker/Clusters/<name>/<id>` (the predecessor's tools, hma_cw_bridge.py, July 2026).
    `topic` may be encrypted by a key of its own.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster_name: str,
        cluster_id: str,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id)
        groups = cdk.Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            # Whatever its id: the ARN of a log group ends in `:*` for some actions, and not for others.
            resource_name=f"/aws/sagemaker/Clusters/{cluster_name}/*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        forwarder = Construct(self, "Forwarder")
        publisher = handler_role(forwarder)
        topic.grant_publish(publisher)
        acknowledge(
            publisher,
            "AwsSolutions-IAM5[Action::kms:GenerateDataKey*]",
            "both data key actions of the topic's own key, as the CDK grants publishing to an encrypted topic",
        )
        function = handler_function(
            forwarder,
            name="health_log_forwarder",
            description="Publishes HyperPod's health records on the deployment's topic",
            role=publisher,
            timeout_minutes=1,
            environment={"CLUSTER_NAME": cluster_name, "TOPIC_ARN": topic.topic_arn},
        )
        function.add_permission(
            "Logs",
            principal=iam.ServicePrincipal("logs.amazonaws.com"),
            source_arn=groups,
            source_account=cdk.Stack.of(self).account,
        )
        subscriber = Construct(self, "Subscriber")
        role = handler_role(subscriber)
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[
                    "logs:CreateLogGroup",
                    "logs:DeleteSubscriptionFilter",
                    "logs:PutSubscriptionFilter",
                ],
                resources=[groups],
            )
        )
        acknowledge_wildcards(role, "HyperPod makes the log group, under the cluster's id", groups)
        subscribe = handler_function(
            subscriber,
            name="health_log_subscription",
            description="Subscribes to the health records in a HyperPod cluster's log group",
            role=role,
            timeout_minutes=2,
        )
        resource = cdk.CustomResource(
            self,
            "Resource",
            resource_type="Custom::TrainforgeHealthLog",
            service_token=subscribe.function_arn,
            service_timeout=cdk.Duration.minutes(3),
            properties={
                "LogGroupName": f"/aws/sagemaker/Clusters/{cluster_name}/{cluster_id}",
                "DestinationArn": function.function_arn,
            },
        )
        # CloudWatch Logs calls the function at once to try it out, and the role's policy must outlive the resource.
        resource.node.add_dependency(function, role)
