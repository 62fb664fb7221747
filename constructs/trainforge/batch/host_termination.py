"""Termination of hosts on which the health checks of a job found a fault."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from catalog.batch import UNHEALTHY_HOST
from trainforge.acknowledgement import acknowledge, acknowledge_wildcards
from trainforge.handler_function import handler_function, handler_role

TAG = "trainforge:terminated-by"
"""The tag of hosts that may be terminated; its value is the stack's name."""


class HostTermination(Construct):
    """A rule and a function that terminate the host of a task which ended with `UNHEALTHY_HOST`.

    The function may terminate instances with this stack's tag alone, and reports on `topic`. ECS's events name the
    task's host; Batch's name that of a job's main node at most.
    """

    def __init__(self, scope: Construct, construct_id: str, *, topic: sns.ITopic) -> None:
        super().__init__(scope, construct_id)
        stack = cdk.Stack.of(self)
        role = handler_role(self)
        topic.grant_publish(role)
        acknowledge(
            role,
            "AwsSolutions-IAM5[Action::kms:GenerateDataKey*]",
            "both data key actions of the topic's own key, as the CDK grants publishing to an encrypted topic",
        )
        hosts = stack.format_arn(service="ecs", resource="container-instance", resource_name="*")
        instances = stack.format_arn(service="ec2", resource="instance", resource_name="*")
        role.add_to_policy(iam.PolicyStatement(actions=["ecs:DescribeContainerInstances"], resources=[hosts]))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["ec2:TerminateInstances"],
                resources=[instances],
                conditions={"StringEquals": {f"aws:ResourceTag/{TAG}": stack.stack_name}},
            )
        )
        role.add_to_policy(iam.PolicyStatement(actions=["ec2:DescribeInstances"], resources=["*"]))
        acknowledge_wildcards(
            role,
            "Batch makes clusters and hosts under names of its own; a tag bounds termination",
            hosts,
            instances,
        )
        acknowledge_wildcards(role, "ec2:DescribeInstances takes no resource", "*")
        function = handler_function(
            self,
            name="batch_host_termination",
            description="Terminates hosts of AWS Batch that health checks found faulty",
            role=role,
            timeout_minutes=1,
            environment={
                "EXIT_CODE": str(UNHEALTHY_HOST),
                "TAG_KEY": TAG,
                "TAG_VALUE": stack.stack_name,
                "TOPIC_ARN": topic.topic_arn,
            },
        )
        self.rule = events.Rule(
            self,
            "Stopped",
            description="Tasks whose health checks found a fault of their host",
            event_pattern=events.EventPattern(
                source=["aws.ecs"],
                detail_type=["ECS Task State Change"],
                detail={"lastStatus": ["STOPPED"], "containers": {"exitCode": [UNHEALTHY_HOST]}},
            ),
            targets=[targets.LambdaFunction(function)],
        )
