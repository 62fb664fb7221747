"""Custom resources: those of the CDK and Helm releases are answered, every other one runs its own function.

A custom resource without a function fails its stack with a reason. In AWS the stack would wait for an
hour.
"""

from __future__ import annotations

import io
import posixpath
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from emulator import control_planes, responses
from emulator.image_build import ContainerImageBuild
from emulator.kubernetes import HelmChart, KubernetesManifest
from emulator.lambda_runtime import configuration, invoke
from emulator.pcluster import PclusterCluster
from emulator.resources.resource import Context, Kind, Properties, Resource, ResourceFailure

_FRAMEWORK_VARIABLE = "USER_ON_EVENT_FUNCTION_ARN"
"""Set on the function of the CDK's provider framework: the function that the framework calls."""

_ANSWER_SECONDS = 1.0


class CustomResource(Resource):
    """A custom resource whose answer the emulator gives. Subclasses do what the CDK's function would do."""

    kind = Kind.ANSWERED

    def update(self, previous: Properties) -> None:
        """Do again what creation does, as the CDK's functions do."""
        del previous
        identifier = self.physical_id
        self.create()
        self.physical_id = identifier

    def delete(self) -> None:
        """Leave everything as it is."""


class FunctionResource(CustomResource):
    """A custom resource whose function runs in this process, with the code that was deployed."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._unused: dict[str, Properties] = {}

    def require_function(self) -> None:
        """Check that the function of the ServiceToken is there.

        Raises:
            ResourceFailure: there is no such function.
        """
        configuration(self.aws("lambda"), str(self.properties["ServiceToken"]))

    def create(self) -> None:
        """Send Create to the function."""
        self._send("Create", {})

    def update(self, previous: Properties) -> None:
        """Send Update to the function; another physical id is another resource, and the old one is out of use."""
        old = self.physical_id
        self._send("Update", {"PhysicalResourceId": old, "OldResourceProperties": previous})
        if self.physical_id != old:
            self._unused[old] = previous
            # An update that is undone comes back to what it put out of use.
            self._unused.pop(self.physical_id, None)

    def clean_up(self) -> None:
        """Send Delete for what is out of use, with its own properties: as CloudFormation does, after all updates."""
        now, properties = self.physical_id, self.properties
        while self._unused:
            self.physical_id, self.properties = self._unused.popitem()
            try:
                self._send("Delete", {"PhysicalResourceId": self.physical_id})
            finally:
                self.physical_id, self.properties = now, properties

    def delete(self) -> None:
        """Send Delete to the function."""
        self._send("Delete", {"PhysicalResourceId": self.physical_id})

    def _send(self, request_type: str, more: dict[str, Any]) -> None:
        """Call the function as CloudFormation, or the CDK's provider framework, does, and take its answer."""
        client = self.aws("lambda")
        token = str(self.properties["ServiceToken"])
        facts = configuration(client, token)
        framework = facts.get("Environment", {}).get("Variables", {}).get(_FRAMEWORK_VARIABLE)
        request_id = str(uuid.uuid4())
        event = {
            "RequestType": request_type,
            "ServiceToken": token,
            "ResponseURL": responses.url(request_id),
            "StackId": self.context.stack_id,
            "RequestId": request_id,
            "LogicalResourceId": self.logical_id,
            "ResourceType": self.resource_type,
            "ResourceProperties": _as_text(self.properties),
            **_as_text(more),
        }
        if framework:
            self._take_returned(request_type, self._invoke(client, framework, event, request_id), request_id)
            return
        self._invoke(client, token, event, request_id)
        answer = responses.take(request_id, _ANSWER_SECONDS)
        if answer is None:
            raise ResourceFailure(
                f"the function of '{self.logical_id}' returned without answering ResponseURL"
            )
        if answer.get("Status") != "SUCCESS":
            self._note_failed(request_type, answer.get("PhysicalResourceId"))
            raise ResourceFailure(
                f"Received response status [FAILED] from custom resource: {answer.get('Reason')}"
            )
        self.physical_id = str(answer["PhysicalResourceId"])
        self.attributes = answer.get("Data") or {}

    def _note_failed(self, request_type: str, physical_id: str | None) -> None:
        """Keep what a failed request says that it made: CloudFormation sends Delete for it."""
        if not physical_id or physical_id == self.physical_id:
            return
        if request_type == "Create":
            self.physical_id = physical_id
        elif request_type == "Update":
            self._unused[physical_id] = self.properties

    def _invoke(self, client: Any, function: str, event: dict[str, Any], request_id: str) -> Any:
        from moto.awslambda.utils import get_backend

        stored = get_backend(self.context.account, self.context.region).get_function(function)
        try:
            return invoke(client, function, stored.code_bytes, event, request_id)
        except ResourceFailure:
            raise
        except Exception as error:
            raise ResourceFailure(
                f"the function of '{self.logical_id}' raised {type(error).__name__}: {error}"
            ) from error

    def _take_returned(self, request_type: str, returned: Any, request_id: str) -> None:
        answer = returned or {}
        if request_type == "Create":
            self.physical_id = str(answer.get("PhysicalResourceId", request_id))
        elif request_type == "Update":
            self.physical_id = str(answer.get("PhysicalResourceId", self.physical_id))
        self.attributes = answer.get("Data") or {}


class AutoDeleteObjects(CustomResource):
    """CDK's Custom::S3AutoDeleteObjects: empties a bucket, versions too, when it is deleted."""

    def create(self) -> None:
        """Note the bucket."""
        self.physical_id = str(self.properties["BucketName"])

    def delete(self) -> None:
        """Delete every version and delete marker in the bucket; a bucket that is gone is no error.

        A bucket that has lost its tag stays full: that is how a stack stops deleting data.
        """
        s3 = self.aws("s3")
        bucket = self.properties["BucketName"]
        try:
            if not self._tagged(s3, bucket):
                return
            pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=bucket))
        except s3.exceptions.NoSuchBucket:
            return
        for page in pages:
            for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
                s3.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])

    @staticmethod
    def _tagged(s3: Any, bucket: str) -> bool:
        try:
            tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchTagSet":
                return False
            raise
        return {"Key": "aws-cdk:auto-delete-objects", "Value": "true"} in tags


class BucketDeployment(CustomResource):
    """CDK's Custom::CDKBucketDeployment: puts the files of asset archives into a bucket."""

    def create(self) -> None:
        """Copy every file of every source to the destination, replacing markers by their values."""
        self.physical_id = self.physical_id or f"aws.cdk.s3deployment.{uuid.uuid4()}"
        s3 = self.aws("s3")
        given = self.properties
        bucket, prefix = given["DestinationBucketName"], given.get("DestinationBucketKeyPrefix", "")
        markers = given.get("SourceMarkers", [{}] * len(given["SourceObjectKeys"]))
        written: set[str] = set()
        for source, key, values in zip(
            given["SourceBucketNames"], given["SourceObjectKeys"], markers, strict=True
        ):
            body = s3.get_object(Bucket=source, Key=key)["Body"].read()
            for name, content in self._files(key, body):
                for marker, value in values.items():
                    content = content.replace(marker.encode(), str(value).encode())
                target = posixpath.join(prefix, name)
                s3.put_object(Bucket=bucket, Key=target, Body=content)
                written.add(target)
        if str(given.get("Prune", "true")).lower() == "true":
            self._prune(s3, bucket, prefix, written)
        self.attributes = {
            "DestinationBucketArn": f"arn:aws:s3:::{bucket}",
            "SourceObjectKeys": given["SourceObjectKeys"],
        }

    def delete(self) -> None:
        """Delete what was copied, unless the properties say that it stays."""
        if str(self.properties.get("RetainOnDelete", "true")).lower() == "true":
            return
        prefix = self.properties.get("DestinationBucketKeyPrefix", "")
        self._prune(self.aws("s3"), self.properties["DestinationBucketName"], prefix, set())

    def _files(self, key: str, body: bytes) -> list[tuple[str, bytes]]:
        if str(self.properties.get("Extract", "true")).lower() != "true":
            return [(posixpath.basename(key), body)]
        archive = zipfile.ZipFile(io.BytesIO(body))
        return [(item.filename, archive.read(item)) for item in archive.infolist() if not item.is_dir()]

    def _prune(self, s3: Any, bucket: str, prefix: str, keep: set[str]) -> None:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                if item["Key"] not in keep:
                    s3.delete_object(Bucket=bucket, Key=item["Key"])


class SourceChart(CustomResource):
    """A Helm release of a chart in a Git repository: its function needs that repository and helm."""

    def create(self) -> None:
        """Note the release; the cluster must be there."""
        properties = self.properties
        cluster = self.aws("eks").describe_cluster(name=properties["ClusterName"])["cluster"]
        self.physical_id = "/".join(
            (properties["ClusterName"], properties["Namespace"], properties["Release"])
        )
        planes = control_planes.configured()
        if planes is not None:
            chart = posixpath.basename(str(properties["Chart"]))
            planes.install(
                cluster["arn"], control_planes.Release(properties["Release"], properties["Namespace"], chart)
            )


class RestrictDefaultSecurityGroup(CustomResource):
    """CDK's Custom::VpcRestrictDefaultSG: removes the initial rules of a VPC's default group."""

    def create(self) -> None:
        """Revoke what the group allows within itself and outwards."""
        self.physical_id = str(self.properties["DefaultSecurityGroupId"])
        group = self.aws("ec2").describe_security_groups(GroupIds=[self.physical_id])["SecurityGroups"][0]
        for method, name in (
            ("revoke_security_group_ingress", "IpPermissions"),
            ("revoke_security_group_egress", "IpPermissionsEgress"),
        ):
            if group[name]:
                getattr(self.aws("ec2"), method)(GroupId=self.physical_id, IpPermissions=group[name])


ANSWERED: dict[str, type[Resource]] = {
    "Custom::AWSCDK-EKS-HelmChart": HelmChart,
    "Custom::AWSCDK-EKS-KubernetesResource": KubernetesManifest,
    "Custom::CDKContainerImageBuild": ContainerImageBuild,
    "Custom::PclusterCluster": PclusterCluster,
    "Custom::S3AutoDeleteObjects": AutoDeleteObjects,
    "Custom::CDKBucketDeployment": BucketDeployment,
    "Custom::VpcRestrictDefaultSG": RestrictDefaultSecurityGroup,
}
"""Custom resources of the CDK, its labs and ParallelCluster, whose functions need Node, a builder or real AWS."""

_RELEASE = frozenset({"ClusterName", "Release", "Namespace", "Chart"})
"""Properties by which a custom resource describes a Helm release, whatever its type."""
_COMMIT = "Commit"
"""The property of a release whose chart is in a Git repository."""


def handler_of_custom_resource(
    context: Context, resource_type: str, logical_id: str, properties: Properties
) -> Resource | None:
    """Return the handler of a custom resource, or None where the type is not one.

    Raises:
        ResourceFailure: no handler for this type, or it has no ServiceToken.
    """
    if not resource_type.startswith("Custom::") and resource_type != "AWS::CloudFormation::CustomResource":
        return None
    if "ServiceToken" not in properties:
        raise ResourceFailure(f"'{logical_id}' of type '{resource_type}' has no ServiceToken")
    maker: Callable[..., Resource] | None = ANSWERED.get(resource_type) or _release(properties)
    if maker is not None:
        return maker(context, resource_type, logical_id, properties)
    made = FunctionResource(context, resource_type, logical_id, properties)
    try:
        made.require_function()
    except ResourceFailure as error:
        raise ResourceFailure(
            f"no handler for the custom resource '{logical_id}' of type '{resource_type}' in the emulator: {error} "
            f"(answered without their functions: {', '.join(sorted(ANSWERED))} and Helm releases)"
        ) from error
    return made


def _release(properties: Properties) -> type[Resource] | None:
    """Return the handler of a Helm release, whose function needs helm and a Kubernetes API; None for anything else."""
    if not properties.keys() >= _RELEASE:
        return None
    return SourceChart if _COMMIT in properties else HelmChart


def _as_text(value: Any) -> Any:
    """Return properties as CloudFormation sends them: every scalar as text."""
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
