"""Functions and layers. `lambda_runtime` runs the functions of our custom resources."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource

_CONFIGURATION = (
    "Description",
    "Environment",
    "EphemeralStorage",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "Role",
    "Runtime",
    "Timeout",
    "TracingConfig",
    "VpcConfig",
)


def _inline(name: str, text: str) -> bytes:
    """Return source text as the archive that CloudFormation makes of a ZipFile property."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


@resource("AWS::Lambda::Function")
class Function(Resource):
    """A function; its code must be in the bucket that the template names."""

    def create(self) -> None:
        """Create it."""
        name = self.properties.get("FunctionName") or self.generated_name()
        given = self.only(*_CONFIGURATION, "Architectures", "Layers", "KmsKeyArn", "PackageType")
        tags = {tag["Key"]: tag["Value"] for tag in self.tags()}
        answer = call(
            self.aws("lambda"),
            "create_function",
            {**given, "FunctionName": name, "Code": self._code(), "Tags": tags},
        )
        self.physical_id = name
        self.attributes = {"Arn": answer["FunctionArn"]}

    def _code(self) -> dict[str, Any]:
        code = dict(self.properties["Code"])
        if "ZipFile" in code:
            python = str(self.properties.get("Runtime", "")).startswith("python")
            code["ZipFile"] = _inline("index.py" if python else "index.js", code["ZipFile"])
        if "S3Key" in code:
            # Lambda refuses code that is not there; moto makes a function without code.
            self.aws("s3").head_object(Bucket=code["S3Bucket"], Key=code["S3Key"])
        return code

    def update(self, previous: Properties) -> None:
        """Update code and configuration."""
        changed = set(self.changed(previous))
        if changed - {*_CONFIGURATION, "Layers", "Code", "Tags"}:
            super().update(previous)
        client = self.aws("lambda")
        if "Code" in changed:
            call(client, "update_function_code", {"FunctionName": self.physical_id, **self._code()})
        given = self.only(*(changed & {*_CONFIGURATION, "Layers"}))
        if given:
            call(client, "update_function_configuration", {"FunctionName": self.physical_id, **given})

    def delete(self) -> None:
        """Delete it."""
        self.aws("lambda").delete_function(FunctionName=self.physical_id)


@resource("AWS::Lambda::LayerVersion")
class LayerVersion(Resource):
    """A version of a layer. Ref is its ARN."""

    def create(self) -> None:
        """Publish it."""
        name = self.properties.get("LayerName") or self.generated_name()
        given = self.only("Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo")
        answer = call(
            self.aws("lambda"),
            "publish_layer_version",
            {**given, "LayerName": name, "Content": self.properties["Content"]},
        )
        self.physical_id = answer["LayerVersionArn"]
        self.attributes = {"LayerVersionArn": self.physical_id}

    def delete(self) -> None:
        """Delete it."""
        name, version = self.physical_id.split(":")[-2:]
        self.aws("lambda").delete_layer_version(LayerName=name, VersionNumber=int(version))


@resource("AWS::Lambda::Permission")
class Permission(Resource):
    """A permission to call a function."""

    def create(self) -> None:
        """Add it."""
        self.physical_id = self.generated_name(100)
        given = self.only("Action", "Principal", "SourceArn", "SourceAccount")
        self.aws("lambda").add_permission(
            FunctionName=self.properties["FunctionName"], StatementId=self.physical_id, **given
        )
        self.attributes = {"Id": self.physical_id}

    def delete(self) -> None:
        """Remove it."""
        self.aws("lambda").remove_permission(
            FunctionName=self.properties["FunctionName"], StatementId=self.physical_id
        )
