"""Notifications of a cluster's state changes and unhealthy nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from trainforge.acknowledgement import acknowledge


def notification_key(
    scope: Construct, construct_id: str, *, removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY
) -> kms.Key:
    """Return a new key for topics with notifications."""
    return kms.Key(
        scope,
        construct_id,
        description="Encrypts notifications of cluster events",
        enable_key_rotation=True,
        removal_policy=removal_policy,
    )


class Notifications(Construct):
    """An encrypted topic for events of one cluster, with e-mail subscriptions.

    Every cluster stack has one; `on` sends the events that match a pattern to it. Rules publish by a role of
    this account: neither the topic nor its key is open to EventBridge as a service, which acts for anybody.
    `key` encrypts the topic, by default one of its own. With `topic_arn` it is an existing topic, whose key,
    policy and subscriptions are its owner's.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        emails: Sequence[str] = (),
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
        key: kms.IKey | None = None,
        topic_arn: str | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.topic: sns.ITopic = (
            sns.Topic.from_topic_arn(self, "Topic", topic_arn)
            if topic_arn
            # A key of our own: EventBridge cannot use the account's default key for SNS.
            else sns.Topic(
                self,
                "Topic",
                master_key=key or notification_key(self, "Key", removal_policy=removal_policy),
                enforce_ssl=True,
            )
        )
        self._publisher = iam.Role(
            self,
            "Publisher",
            assumed_by=iam.ServicePrincipal("events.amazonaws.com").with_conditions(
                {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}}
            ),
            description="EventBridge rules of this cluster, publishing to its topic",
        )
        self.topic.grant_publish(self._publisher)
        if not topic_arn:
            acknowledge(
                self._publisher,
                "AwsSolutions-IAM5[Action::kms:GenerateDataKey*]",
                "both data key actions of the topic's own key, as the CDK grants publishing to an encrypted topic",
            )
        for email in emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))

    def on(
        self,
        rule_id: str,
        *,
        description: str,
        source: str | Sequence[str],
        detail_types: Sequence[str],
        detail: Mapping[str, Any],
        resources: Sequence[str] | None = None,
    ) -> events.Rule:
        """Send the events of a `source`, or of several, with one of `detail_types` and matching `detail` to the topic.

        With `resources` only those events that name one of them.
        """
        return events.Rule(
            self,
            rule_id,
            description=description,
            event_pattern=events.EventPattern(
                source=[source] if isinstance(source, str) else list(source),
                detail_type=list(detail_types),
                detail=dict(detail) or None,
                resources=resources,
            ),
            targets=[targets.SnsTopic(self.topic, authorize_using_role=True, role=self._publisher)],
        )
