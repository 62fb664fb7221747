"""Buckets and their policies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from emulator.resources.resource import Properties, Resource, resource

_FLAGS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


@resource("AWS::S3::Bucket")
class Bucket(Resource):
    """A bucket with what the stacks configure on it; any other property is refused by name."""

    def create(self) -> None:
        """Create it and put its configuration."""
        name = self.properties.get("BucketName") or self.generated_name(63, lower=True)
        given: dict[str, Any] = {"Bucket": name}
        if self.context.region != "us-east-1":
            given["CreateBucketConfiguration"] = {"LocationConstraint": self.context.region}
        rules = self.properties.get("OwnershipControls", {}).get("Rules")
        ownership = rules[0]["ObjectOwnership"] if rules else "BucketOwnerEnforced"
        given["ObjectOwnership"] = ownership
        access = self.properties.get("AccessControl", "Private")
        if access != "Private":
            if ownership == "BucketOwnerEnforced":
                self.fail("Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
            given["ACL"] = re.sub(r"(?<!^)(?=[A-Z])", "-", access).lower()
        self._configurators()
        self.aws("s3").create_bucket(**given)
        self.physical_id = name
        host = f"{name}.s3.amazonaws.com"
        self.attributes = {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": host,
            "RegionalDomainName": f"{name}.s3.{self.context.region}.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{self.context.region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website-{self.context.region}.amazonaws.com",
        }
        self._configure(set(self.properties))

    def _configurators(self) -> dict[str, Callable[[Any], None]]:
        """Return what sets each property.

        Raises:
            ResourceFailure: the template has a property that nothing here sets.
        """
        known: dict[str, Callable[[Any], None]] = {
            "AccessControl": lambda _value: None,
            "BucketEncryption": self._encryption,
            "BucketName": lambda _value: None,
            "LifecycleConfiguration": self._lifecycle,
            "LoggingConfiguration": self._logging,
            "NotificationConfiguration": self._notification,
            "OwnershipControls": self._ownership,
            "PublicAccessBlockConfiguration": self._public_access,
            "Tags": lambda _value: None,
            "VersioningConfiguration": self._versioning,
        }
        unknown = sorted(set(self.properties) - set(known))
        if unknown:
            self.fail(f"the emulator does not configure {unknown} of a bucket; add it in resources/s3.py")
        return known

    def _configure(self, names: set[str]) -> None:
        known = self._configurators()
        for name in sorted(names):
            known[name](self.properties.get(name, {}))
        self.apply_tags()

    def _encryption(self, value: Properties) -> None:
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                "BucketKeyEnabled": _true(rule.get("BucketKeyEnabled", False)),
            }
            for rule in value.get("ServerSideEncryptionConfiguration", [])
        ]
        if rules:
            self.aws("s3").put_bucket_encryption(
                Bucket=self.physical_id, ServerSideEncryptionConfiguration={"Rules": rules}
            )
        else:
            self.aws("s3").delete_bucket_encryption(Bucket=self.physical_id)

    def _versioning(self, value: Properties) -> None:
        self.aws("s3").put_bucket_versioning(
            Bucket=self.physical_id, VersioningConfiguration={"Status": value.get("Status", "Suspended")}
        )

    def _public_access(self, value: Properties) -> None:
        self.aws("s3").put_public_access_block(
            Bucket=self.physical_id,
            PublicAccessBlockConfiguration={flag: _true(value.get(flag, False)) for flag in _FLAGS},
        )

    def _ownership(self, value: Properties) -> None:
        if value:
            self.aws("s3").put_bucket_ownership_controls(
                Bucket=self.physical_id, OwnershipControls={"Rules": value["Rules"]}
            )

    def _logging(self, value: Properties) -> None:
        enabled = {
            "TargetBucket": value.get("DestinationBucketName", self.physical_id),
            "TargetPrefix": value.get("LogFilePrefix", ""),
        }
        self.aws("s3").put_bucket_logging(
            Bucket=self.physical_id, BucketLoggingStatus={"LoggingEnabled": enabled} if value else {}
        )

    def _notification(self, value: Properties) -> None:
        configuration: dict[str, Any] = {}
        if "EventBridgeConfiguration" in value:
            configuration["EventBridgeConfiguration"] = {}
        if set(value) - {"EventBridgeConfiguration"}:
            self.fail("the emulator sends notifications of a bucket to EventBridge only")
        self.aws("s3").put_bucket_notification_configuration(
            Bucket=self.physical_id, NotificationConfiguration=configuration
        )

    def _lifecycle(self, value: Properties) -> None:
        rules = [_lifecycle_rule(rule) for rule in value.get("Rules", [])]
        if rules:
            self.aws("s3").put_bucket_lifecycle_configuration(
                Bucket=self.physical_id, LifecycleConfiguration={"Rules": rules}
            )
        else:
            self.aws("s3").delete_bucket_lifecycle(Bucket=self.physical_id)

    def apply_tags(self) -> None:
        """Set the tags."""
        tags = self.tags()
        if tags:
            self.aws("s3").put_bucket_tagging(Bucket=self.physical_id, Tagging={"TagSet": tags})
        else:
            self.aws("s3").delete_bucket_tagging(Bucket=self.physical_id)

    def update(self, previous: Properties) -> None:
        """Put the configuration that changed."""
        self._configure(set(self.changed(previous)) & (set(self._configurators()) | set(self.properties)))

    def delete(self) -> None:
        """Delete it; S3 refuses while it holds an object, a version or a delete marker."""
        s3 = self.aws("s3")
        page = s3.list_object_versions(Bucket=self.physical_id, MaxKeys=1)
        if page.get("Versions") or page.get("DeleteMarkers"):
            self.fail(
                "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
            )
        s3.delete_bucket(Bucket=self.physical_id)


def _lifecycle_rule(rule: Properties) -> dict[str, Any]:
    """Return a rule in the API's spelling, which differs from CloudFormation's."""
    result: dict[str, Any] = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "Id" in rule:
        result["ID"] = rule["Id"]
    expiration: dict[str, Any] = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = int(rule["ExpirationInDays"])
    if "ExpiredObjectDeleteMarker" in rule:
        expiration["ExpiredObjectDeleteMarker"] = _true(rule["ExpiredObjectDeleteMarker"])
    if expiration:
        result["Expiration"] = expiration
    noncurrent = rule.get("NoncurrentVersionExpiration") or (
        {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
        if "NoncurrentVersionExpirationInDays" in rule
        else None
    )
    if noncurrent:
        result["NoncurrentVersionExpiration"] = {name: int(days) for name, days in noncurrent.items()}
    if "AbortIncompleteMultipartUpload" in rule:
        days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        result["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(days)}
    transitions = rule.get("Transitions", []) + ([rule["Transition"]] if "Transition" in rule else [])
    if transitions:
        result["Transitions"] = [
            {"Days": int(item["TransitionInDays"]), "StorageClass": item["StorageClass"]}
            for item in transitions
        ]
    return result


@resource("AWS::S3::BucketPolicy")
class BucketPolicy(Resource):
    """The policy of a bucket."""

    def create(self) -> None:
        """Put it."""
        document = self.properties["PolicyDocument"]
        policy = document if isinstance(document, str) else json.dumps(document)
        self.aws("s3").put_bucket_policy(Bucket=self.properties["Bucket"], Policy=policy)
        self.physical_id = self.properties["Bucket"]

    def update(self, previous: Properties) -> None:
        """Put the new one."""
        del previous
        self.create()

    def delete(self) -> None:
        """Delete it; a bucket that is gone took it along."""
        try:
            self.aws("s3").delete_bucket_policy(Bucket=self.physical_id)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
