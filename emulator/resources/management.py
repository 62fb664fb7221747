"""Log groups, alarms, SSM documents and parameters, and keys."""

from __future__ import annotations

import json
from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource


@resource("AWS::Logs::LogGroup")
class LogGroup(Resource):
    """A log group."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("LogGroupName") or self.generated_name(512)
        given: dict[str, Any] = {"logGroupName": name}
        if "KmsKeyId" in self.properties:
            given["kmsKeyId"] = self.properties["KmsKeyId"]
        self.aws("logs").create_log_group(**given)
        self.physical_id = name
        self.attributes = {"Arn": self.arn("logs", f"log-group:{name}:*")}
        self._set_retention()
        self.apply_tags()

    def _set_retention(self) -> None:
        days = self.properties.get("RetentionInDays")
        if days is None:
            self.aws("logs").delete_retention_policy(logGroupName=self.physical_id)
        else:
            self.aws("logs").put_retention_policy(logGroupName=self.physical_id, retentionInDays=int(days))

    def update(self, previous: Properties) -> None:
        """Set retention and tags."""
        if set(self.changed(previous)) - {"RetentionInDays", "Tags"}:
            super().update(previous)
        self._set_retention()
        self.apply_tags()

    def apply_tags(self) -> None:
        """Set the tags."""
        arn = self.attributes["Arn"].removesuffix(":*")
        tags = {tag["Key"]: tag["Value"] for tag in self.tags()}
        held = self.aws("logs").list_tags_for_resource(resourceArn=arn)["tags"]
        stale = [key for key in held if key not in tags]
        if stale:
            self.aws("logs").untag_resource(resourceArn=arn, tagKeys=stale)
        if tags:
            self.aws("logs").tag_resource(resourceArn=arn, tags=tags)

    def delete(self) -> None:
        """Delete it with what it holds."""
        self.aws("logs").delete_log_group(logGroupName=self.physical_id)


@resource("AWS::SSM::Document")
class Document(Resource):
    """An SSM document."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("Name") or self.generated_name(128)
        self.aws("ssm").create_document(Name=name, **self.tag_argument(), **self._given())
        self.physical_id = name

    def _given(self) -> dict[str, Any]:
        content = self.properties["Content"]
        given = self.only("DocumentType", "DocumentFormat", "TargetType", "VersionName")
        return {**given, "Content": content if isinstance(content, str) else json.dumps(content)}

    def update(self, previous: Properties) -> None:
        """Make a new default version, where the template asks for versions.

        Raises:
            ResourceFailure: UpdateMethod is Replace, which makes a new document under another name.
        """
        if set(self.changed(previous)) - {"Content", "VersionName", "UpdateMethod", "Tags"}:
            super().update(previous)
        if "Content" in self.changed(previous):
            if self.properties.get("UpdateMethod", "Replace") != "NewVersion":
                self.fail("the content of a document changes in place only with UpdateMethod NewVersion")
            given = self._given()
            given.pop("DocumentType", None)
            ssm = self.aws("ssm")
            answer = ssm.update_document(Name=self.physical_id, DocumentVersion="$LATEST", **given)
            version = answer["DocumentDescription"]["DocumentVersion"]
            ssm.update_document_default_version(Name=self.physical_id, DocumentVersion=version)

    def delete(self) -> None:
        """Delete it with all versions."""
        self.aws("ssm").delete_document(Name=self.physical_id)


@resource("AWS::SSM::Parameter")
class Parameter(Resource):
    """An SSM parameter."""

    def create(self) -> None:
        """Create it; SSM refuses one that exists."""
        name = self.properties.get("Name") or self.generated_name(512)
        self.aws("ssm").put_parameter(Name=name, Overwrite=False, **self._given(), **self.tag_argument())
        self.physical_id = name
        self.attributes = {"Type": self.properties["Type"], "Value": self.properties["Value"]}

    def _given(self) -> dict[str, Any]:
        given = self.only("Type", "Description", "AllowedPattern", "Tier", "DataType", "Policies")
        return {**given, "Value": str(self.properties["Value"])}

    def update(self, previous: Properties) -> None:
        """Overwrite it."""
        if self.changed(previous) != ["Tags"]:
            self.aws("ssm").put_parameter(Name=self.physical_id, Overwrite=True, **self._given())
        self.apply_tags()
        self.attributes = {"Type": self.properties["Type"], "Value": self.properties["Value"]}

    def apply_tags(self) -> None:
        """Make the tags those of the template and the stack, and no others."""
        ssm = self.aws("ssm")
        target = {"ResourceType": "Parameter", "ResourceId": self.physical_id}
        new_tags = self.tags()
        held = {tag["Key"] for tag in ssm.list_tags_for_resource(**target)["TagList"]}
        stale = sorted(held - {tag["Key"] for tag in new_tags})
        if stale:
            ssm.remove_tags_from_resource(**target, TagKeys=stale)
        if new_tags:
            ssm.add_tags_to_resource(**target, Tags=new_tags)

    def delete(self) -> None:
        """Delete it."""
        self.aws("ssm").delete_parameter(Name=self.physical_id)


@resource("AWS::KMS::Key")
class Key(Resource):
    """A KMS key. A deleted one is pending for its window, as in AWS."""

    def create(self) -> None:
        """Create it."""
        policy = self.properties.get("KeyPolicy")
        given = self.only("Description", "KeySpec", "KeyUsage", "Origin")
        if policy is not None:
            given["Policy"] = policy if isinstance(policy, str) else json.dumps(policy)
        tags = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in self.tags()]
        key = self.aws("kms").create_key(Tags=tags, **given)["KeyMetadata"]
        self.physical_id = key["KeyId"]
        self.attributes = {"Arn": key["Arn"], "KeyId": key["KeyId"]}
        self._set_rotation()

    def _set_rotation(self) -> None:
        if str(self.properties.get("EnableKeyRotation", "false")).lower() == "true":
            self.aws("kms").enable_key_rotation(KeyId=self.physical_id)
        else:
            self.aws("kms").disable_key_rotation(KeyId=self.physical_id)

    def update(self, previous: Properties) -> None:
        """Set policy, description and rotation."""
        known = {"KeyPolicy", "Description", "EnableKeyRotation", "PendingWindowInDays", "Tags"}
        if set(self.changed(previous)) - known:
            super().update(previous)
        policy = self.properties.get("KeyPolicy")
        if policy is not None:
            text = policy if isinstance(policy, str) else json.dumps(policy)
            self.aws("kms").put_key_policy(KeyId=self.physical_id, PolicyName="default", Policy=text)
        self.aws("kms").update_key_description(
            KeyId=self.physical_id, Description=self.properties.get("Description", "")
        )
        self._set_rotation()

    def delete(self) -> None:
        """Schedule its deletion."""
        days = int(self.properties.get("PendingWindowInDays", 30))
        self.aws("kms").schedule_key_deletion(KeyId=self.physical_id, PendingWindowInDays=days)


@resource("AWS::KMS::Alias")
class Alias(Resource):
    """A name of a key."""

    def create(self) -> None:
        """Create it."""
        self.aws("kms").create_alias(**self.only("AliasName", "TargetKeyId"))
        self.physical_id = self.properties["AliasName"]

    def update(self, previous: Properties) -> None:
        """Point it to another key."""
        del previous
        self.aws("kms").update_alias(AliasName=self.physical_id, TargetKeyId=self.properties["TargetKeyId"])

    def delete(self) -> None:
        """Delete it."""
        self.aws("kms").delete_alias(AliasName=self.physical_id)


@resource("AWS::CloudWatch::Dashboard")
class Dashboard(Resource):
    """A CloudWatch dashboard. Ref is its name."""

    def create(self) -> None:
        """Put it; CloudWatch takes a body that is JSON only."""
        name = self.properties.get("DashboardName") or self.generated_name(255)
        self._put(name)
        self.physical_id = name

    def _put(self, name: str) -> None:
        body = self.properties["DashboardBody"]
        json.loads(body)
        self.aws("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=body)

    def update(self, previous: Properties) -> None:
        """Put the new body."""
        self._put(self.physical_id)

    def delete(self) -> None:
        """Delete it."""
        self.aws("cloudwatch").delete_dashboards(DashboardNames=[self.physical_id])


@resource("AWS::CloudWatch::Alarm")
class Alarm(Resource):
    """An alarm on one metric. Ref is its name."""

    def create(self) -> None:
        """Create it."""
        self.physical_id = self.properties.get("AlarmName") or self.generated_name(255)
        self.attributes = {"Arn": self.arn("cloudwatch", f"alarm:{self.physical_id}")}
        self._put()

    def _put(self) -> None:
        given = {name: value for name, value in self.properties.items() if name not in ("AlarmName", "Tags")}
        call(
            self.aws("cloudwatch"),
            "put_metric_alarm",
            {"AlarmName": self.physical_id, **given, **self.tag_argument()},
        )

    def update(self, previous: Properties) -> None:
        """Put it again."""
        del previous
        self._put()

    def delete(self) -> None:
        """Delete it."""
        self.aws("cloudwatch").delete_alarms(AlarmNames=[self.physical_id])
