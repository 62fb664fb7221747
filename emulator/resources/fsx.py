"""FSx file systems and their data repository associations."""

from __future__ import annotations

from typing import Any

from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource

_NOT_SENT = {"Tags"}
_CONFIGURATIONS = (
    "LustreConfiguration",
    "OpenZFSConfiguration",
    "OntapConfiguration",
    "WindowsConfiguration",
)


class FsxResource(Resource):
    """A resource of FSx: its tags hang on its ARN."""

    def apply_tags(self) -> None:
        """Make the tags those of the template and the stack, and no others."""
        arn = self.attributes["ResourceARN"]
        fsx = self.aws("fsx")
        new_tags = self.tags()
        held = {tag["Key"] for tag in fsx.list_tags_for_resource(ResourceARN=arn)["Tags"]}
        stale = sorted(held - {tag["Key"] for tag in new_tags})
        if stale:
            fsx.untag_resource(ResourceARN=arn, TagKeys=stale)
        if new_tags:
            fsx.tag_resource(ResourceARN=arn, Tags=new_tags)


@resource("AWS::FSx::FileSystem")
class FileSystem(FsxResource):
    """A file system."""

    def create(self) -> None:
        """Create it."""
        given = {name: value for name, value in self.properties.items() if name not in _NOT_SENT}
        zfs = dict(given.get("OpenZFSConfiguration", {}))
        if zfs:
            # What deletion does is CloudFormation's own property; the API takes it at deletion.
            zfs.pop("Options", None)
            given["OpenZFSConfiguration"] = zfs
        answer = call(self.aws("fsx"), "create_file_system", {**given, **self.tag_argument()})["FileSystem"]
        self.physical_id = answer["FileSystemId"]
        self.attributes = {
            "Id": self.physical_id,
            "ResourceARN": answer["ResourceARN"],
            "DNSName": answer["DNSName"],
            "LustreMountName": answer.get("LustreConfiguration", {}).get("MountName", ""),
            "RootVolumeId": answer.get("OpenZFSConfiguration", {}).get("RootVolumeId", ""),
        }

    def update(self, previous: Properties) -> None:
        """Send what changed to UpdateFileSystem, whose model refuses what cannot be changed."""
        changes: dict[str, Any] = {}
        for name in self.changed(previous):
            if name == "Tags":
                continue
            value = self.properties.get(name)
            if name in _CONFIGURATIONS and isinstance(value, dict):
                before = previous.get(name, {})
                value = {key: item for key, item in value.items() if before.get(key) != item}
                if "RouteTableIds" in value:
                    after, old = value.pop("RouteTableIds"), before.get("RouteTableIds", [])
                    value["AddRouteTableIds"] = [table for table in after if table not in old]
                    value["RemoveRouteTableIds"] = [table for table in old if table not in after]
                value.pop("Options", None)
            if value not in ({}, None):
                changes[name] = value
        if changes:
            call(self.aws("fsx"), "update_file_system", {"FileSystemId": self.physical_id, **changes})
        self.apply_tags()

    def delete(self) -> None:
        """Delete it. CloudFormation cannot ask for no final backup, so OpenZFS leaves one."""
        given: dict[str, Any] = {}
        options = self.properties.get("OpenZFSConfiguration", {}).get("Options")
        if options:
            given["OpenZFSConfiguration"] = {"Options": options}
        self.aws("fsx").delete_file_system(FileSystemId=self.physical_id, **given)


@resource("AWS::FSx::DataRepositoryAssociation")
class DataRepositoryAssociation(FsxResource):
    """The link between a path of a Lustre file system and a bucket."""

    def create(self) -> None:
        """Create it."""
        given = {name: value for name, value in self.properties.items() if name not in _NOT_SENT}
        answer = call(self.aws("fsx"), "create_data_repository_association", {**given, **self.tag_argument()})
        association = answer["Association"]
        self.physical_id = association["AssociationId"]
        self.attributes = {
            "AssociationId": self.physical_id,
            "ResourceARN": association["ResourceARN"],
        }

    def update(self, previous: Properties) -> None:
        """Set policies and chunk size."""
        del previous
        given = self.only("S3", "ImportedFileChunkSize")
        call(
            self.aws("fsx"),
            "update_data_repository_association",
            {"AssociationId": self.physical_id, **given},
        )
        self.apply_tags()

    def delete(self) -> None:
        """Delete it and leave the files in place."""
        self.aws("fsx").delete_data_repository_association(AssociationId=self.physical_id)
