"""Topics, subscriptions and event rules."""

from __future__ import annotations

import json
from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource

_ATTRIBUTES = {
    "DisplayName": "DisplayName",
    "KmsMasterKeyId": "KmsMasterKeyId",
    "SignatureVersion": "SignatureVersion",
    "TracingConfig": "TracingConfig",
}


@resource("AWS::SNS::Topic")
class Topic(Resource):
    """A topic. Ref is its ARN."""

    def create(self) -> None:
        """Create it with its attributes and its inline subscriptions."""
        name = self.properties.get("TopicName") or self.generated_name(256)
        self.physical_id = self.aws("sns").create_topic(
            Name=name, Attributes=self._attributes(), **self.tag_argument()
        )["TopicArn"]
        self.attributes = {"TopicArn": self.physical_id, "TopicName": name}
        for item in self.properties.get("Subscription", []):
            self.aws("sns").subscribe(
                TopicArn=self.physical_id, Protocol=item["Protocol"], Endpoint=item["Endpoint"]
            )

    def _attributes(self) -> dict[str, str]:
        return {
            key: str(self.properties[name]) for name, key in _ATTRIBUTES.items() if name in self.properties
        }

    def update(self, previous: Properties) -> None:
        """Set attributes and tags."""
        if set(self.changed(previous)) - {*_ATTRIBUTES, "Tags"}:
            super().update(previous)
        for key, value in self._attributes().items():
            self.aws("sns").set_topic_attributes(
                TopicArn=self.physical_id, AttributeName=key, AttributeValue=value
            )
        self.apply_tags()

    def apply_tags(self) -> None:
        """Make the tags those of the template and the stack, and no others."""
        sns = self.aws("sns")
        new_tags = self.tags()
        held = {tag["Key"] for tag in sns.list_tags_for_resource(ResourceArn=self.physical_id)["Tags"]}
        stale = sorted(held - {tag["Key"] for tag in new_tags})
        if stale:
            sns.untag_resource(ResourceArn=self.physical_id, TagKeys=stale)
        if new_tags:
            sns.tag_resource(ResourceArn=self.physical_id, Tags=new_tags)

    def delete(self) -> None:
        """Delete it with its subscriptions."""
        sns = self.aws("sns")
        for item in sns.list_subscriptions_by_topic(TopicArn=self.physical_id)["Subscriptions"]:
            sns.unsubscribe(SubscriptionArn=item["SubscriptionArn"])
        sns.delete_topic(TopicArn=self.physical_id)


@resource("AWS::SNS::TopicPolicy")
class TopicPolicy(Resource):
    """The policy of topics."""

    def create(self) -> None:
        """Set it on every topic."""
        self.physical_id = self.generated_name()
        self.attributes = {"Id": self.physical_id}
        self._put()

    def _put(self) -> None:
        document = self.properties["PolicyDocument"]
        policy = document if isinstance(document, str) else json.dumps(document)
        for arn in self.properties["Topics"]:
            self.aws("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)

    def update(self, previous: Properties) -> None:
        """Set the new one."""
        del previous
        self._put()

    def delete(self) -> None:
        """Give every topic the policy that new topics have: its own account only."""
        for arn in self.properties["Topics"]:
            statement = {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["SNS:Publish", "SNS:Subscribe"],
                "Resource": arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": self.context.account}},
            }
            policy = json.dumps({"Version": "2008-10-17", "Statement": [statement]})
            self.aws("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)


@resource("AWS::SNS::Subscription")
class Subscription(Resource):
    """A subscription to a topic. Ref is its ARN."""

    def create(self) -> None:
        """Subscribe."""
        attributes: dict[str, str] = {}
        for name in ("FilterPolicy", "RedrivePolicy", "DeliveryPolicy"):
            if name in self.properties:
                attributes[name] = json.dumps(self.properties[name])
        for name in ("RawMessageDelivery", "FilterPolicyScope"):
            if name in self.properties:
                value = self.properties[name]
                attributes[name] = str(value).lower() if isinstance(value, bool) else str(value)
        given = self.only("TopicArn", "Protocol", "Endpoint")
        answer = self.aws("sns").subscribe(**given, Attributes=attributes, ReturnSubscriptionArn=True)
        self.physical_id = answer["SubscriptionArn"]
        self.attributes = {"Arn": self.physical_id}

    def delete(self) -> None:
        """Unsubscribe."""
        self.aws("sns").unsubscribe(SubscriptionArn=self.physical_id)


@resource("AWS::Events::Rule")
class Rule(Resource):
    """An EventBridge rule with its targets."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("Name") or self.generated_name()
        self.attributes = {"Arn": self._put(name)}
        self.physical_id = name
        targets = self.properties.get("Targets", [])
        if targets:
            call(self.aws("events"), "put_targets", {"Rule": name, "Targets": targets, **self._bus()})

    def _bus(self) -> dict[str, Any]:
        return self.only("EventBusName")

    def _put(self, name: str) -> str:
        given = self.only("Description", "State", "ScheduleExpression", "RoleArn")
        if "EventPattern" in self.properties:
            pattern = self.properties["EventPattern"]
            given["EventPattern"] = pattern if isinstance(pattern, str) else json.dumps(pattern)
        given |= self.tag_argument()
        answer: str = self.aws("events").put_rule(Name=name, **given, **self._bus())["RuleArn"]
        return answer

    def update(self, previous: Properties) -> None:
        """Put the rule again and exchange its targets."""
        self._put(self.physical_id)
        events = self.aws("events")
        after = self.properties.get("Targets", [])
        ids = {target["Id"] for target in after}
        gone = [target["Id"] for target in previous.get("Targets", []) if target["Id"] not in ids]
        if gone:
            events.remove_targets(Rule=self.physical_id, Ids=gone, **self._bus())
        if after:
            call(events, "put_targets", {"Rule": self.physical_id, "Targets": after, **self._bus()})

    def delete(self) -> None:
        """Remove the targets and delete it."""
        events = self.aws("events")
        ids = [target["Id"] for target in self.properties.get("Targets", [])]
        if ids:
            events.remove_targets(Rule=self.physical_id, Ids=ids, **self._bus())
        events.delete_rule(Name=self.physical_id, **self._bus())
