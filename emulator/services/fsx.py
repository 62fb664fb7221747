"""FSx as these stacks need it: whole configurations, repository associations, updates, final backups.

moto keeps part of CreateFileSystem and has no UpdateFileSystem and no data repository associations.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.ec2.models import ec2_backends
from moto.fsx import models, responses
from moto.moto_api._internal import mock_random

from emulator.moto_patches import put_all
from emulator.services.ec2 import add_interface, remove_interface


class BadRequest(JsonRESTError):
    """FSx's BadRequest."""

    def __init__(self, message: str) -> None:
        super().__init__("BadRequest", message)


class AssociationNotFound(JsonRESTError):
    """FSx's DataRepositoryAssociationNotFound."""

    def __init__(self, association_id: str) -> None:
        super().__init__(
            "DataRepositoryAssociationNotFound",
            f"Data repository association '{association_id}' does not exist.",
        )


class FileSystem(models.FileSystem):
    """A file system that keeps its whole request."""

    request: dict[str, Any]

    def describe_fully(self) -> dict[str, Any]:
        """Return it as DescribeFileSystems does."""
        kept = {
            name: value
            for name, value in self.request.items()
            if name not in ("ClientRequestToken", "Tags", "SecurityGroupIds")
        }
        described = {
            **kept,
            "OwnerId": self.account_id,
            "CreationTime": self.creation_time,
            "FileSystemId": self.file_system_id,
            "Lifecycle": "AVAILABLE",
            "VpcId": self.vpc_id,
            "NetworkInterfaceIds": self.interface_ids,
            "DNSName": self.dns_name,
            "ResourceARN": self.resource_arn,
            "Tags": self.backend.list_tags_for_resource(self.resource_arn),
        }
        if self.file_system_type == "LUSTRE":
            described["LustreConfiguration"] = {
                **kept.get("LustreConfiguration", {}),
                "MountName": self.mount_name,
            }
        if self.file_system_type == "OPENZFS":
            configuration = dict(kept.get("OpenZFSConfiguration", {}))
            configuration.pop("RootVolumeConfiguration", None)
            described["OpenZFSConfiguration"] = {**configuration, "RootVolumeId": self.root_volume_id}
        return described

    def to_dict(self) -> dict[str, Any]:
        """Return it as moto's responses require it."""
        return self.describe_fully()

    account_id: str
    vpc_id: str
    mount_name: str
    root_volume_id: str
    creation_time: float
    interface_ids: list[str]


class Backup(models.Backup):
    """A backup that is there at once."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as DescribeBackups does, with its file system, which the API always returns."""
        return {
            **super().to_dict(),
            "Lifecycle": "AVAILABLE",
            "Type": "AUTOMATIC",
            "FileSystem": {"FileSystemId": self.file_system_id},
        }


class Responses(responses.FSxResponse):
    """FSx's operations, those that moto lacks among them."""

    def create_file_system(self) -> str:
        """Create a file system in existing subnets and security groups of one VPC."""
        request = json.loads(self.body)
        ec2 = ec2_backends[self.current_account][self.region]
        vpcs = {ec2.get_subnet(subnet).vpc_id for subnet in request["SubnetIds"]}
        for group_id in request.get("SecurityGroupIds", []):
            group = ec2.get_security_group_from_id(group_id)
            if group is None or {group.vpc_id} != vpcs:
                raise BadRequest(f"Security group {group_id} is not in the VPC of the subnets.")
        file_system = FileSystem(
            account_id=self.current_account,
            region_name=self.region,
            file_system_type=request["FileSystemType"],
            storage_capacity=request.get("StorageCapacity", 0),
            storage_type=request.get("StorageType", "SSD"),
            subnet_ids=request["SubnetIds"],
            security_group_ids=request.get("SecurityGroupIds", []),
            tags=None,
            kms_key_id=request.get("KmsKeyId"),
            windows_configuration=None,
            lustre_configuration=request.get("LustreConfiguration"),
            ontap_configuration=None,
            open_zfs_configuration=request.get("OpenZFSConfiguration"),
            backend=self.fsx_backend,
        )
        # moto's ids have 8 digits; FSx's have 17, and programs check that.
        file_system.file_system_id = f"fs-{secrets.token_hex(9)[:17]}"
        file_system.dns_name = f"{file_system.file_system_id}.fsx.{self.region}.amazonaws.com"
        file_system.resource_arn = (
            f"arn:aws:fsx:{self.region}:{self.current_account}:file-system/{file_system.file_system_id}"
        )
        file_system.request = request
        file_system.account_id = self.current_account
        file_system.vpc_id = vpcs.pop()
        file_system.creation_time = time.time()
        file_system.mount_name = mock_random.get_random_string(length=8, lower_case=True)
        file_system.root_volume_id = f"fsvol-{secrets.token_hex(9)[:17]}"
        # How many FSx takes depends on its size; one a subnet is enough to keep the subnet from deletion.
        file_system.interface_ids = [
            add_interface(
                ec2,
                subnet,
                request.get("SecurityGroupIds", []),
                f"of file system {file_system.file_system_id}",
            )
            for subnet in request["SubnetIds"]
        ]
        self.fsx_backend.tagger.tag_resource(file_system.resource_arn, request.get("Tags", []))
        self.fsx_backend.file_systems[file_system.file_system_id] = file_system
        return json.dumps({"FileSystem": file_system.to_dict()})

    def update_file_system(self) -> str:
        """Merge what is given into the file system's configuration."""
        request = json.loads(self.body)
        file_system = self._file_system(request.pop("FileSystemId"))
        request.pop("ClientRequestToken", None)
        for name, value in request.items():
            if isinstance(value, dict):
                routes = list(file_system.request.get(name, {}).get("RouteTableIds", []))
                routes += value.pop("AddRouteTableIds", [])
                gone = value.pop("RemoveRouteTableIds", [])
                merged = {**file_system.request.get(name, {}), **value}
                if routes:
                    merged["RouteTableIds"] = [table for table in routes if table not in gone]
                file_system.request[name] = merged
            else:
                file_system.request[name] = value
        return json.dumps({"FileSystem": file_system.to_dict()})

    def delete_file_system(self) -> str:
        """Delete a file system; one of OpenZFS leaves a final backup unless SkipFinalBackup is set.

        Source: FSx API reference, DeleteFileSystemOpenZFSConfiguration and DeleteFileSystemLustreConfiguration
        (whose default skips the backup).
        """
        request = json.loads(self.body)
        file_system = self._file_system(request["FileSystemId"])
        linked = [
            a
            for a in associations(self.fsx_backend).values()
            if a["FileSystemId"] == file_system.file_system_id
        ]
        for association in linked:
            del associations(self.fsx_backend)[association["AssociationId"]]
        options = request.get("OpenZFSConfiguration") or {}
        if file_system.file_system_type == "OPENZFS" and not options.get("SkipFinalBackup", False):
            copied = file_system.request.get("OpenZFSConfiguration", {}).get("CopyTagsToBackups", False)
            tags = self.fsx_backend.list_tags_for_resource(file_system.resource_arn) if copied else []
            backup = Backup(
                account_id=self.current_account,
                region_name=self.region,
                file_system_id=file_system.file_system_id,
                client_request_token=None,
                volume_id=None,
                tags=tags,
                backend=self.fsx_backend,
            )
            self.fsx_backend.backups[backup.backup_id] = backup
        for interface_id in file_system.interface_ids:
            remove_interface(ec2_backends[self.current_account][self.region], interface_id)
        del self.fsx_backend.file_systems[file_system.file_system_id]
        return json.dumps({"FileSystemId": file_system.file_system_id, "Lifecycle": "DELETING"})

    def create_data_repository_association(self) -> str:
        """Link a Lustre file system's path to a bucket that exists."""
        from moto.s3.models import s3_backends

        request = json.loads(self.body)
        request.pop("ClientRequestToken", None)
        file_system = self._file_system(request["FileSystemId"])
        if file_system.file_system_type != "LUSTRE":
            raise BadRequest("Data repository associations are for Lustre file systems only.")
        bucket = request["DataRepositoryPath"].removeprefix("s3://").split("/")[0]
        s3_backends[self.current_account]["aws"].get_bucket(bucket)
        for other in associations(self.fsx_backend).values():
            same = other["FileSystemId"] == file_system.file_system_id
            if same and other["FileSystemPath"] == request["FileSystemPath"]:
                raise BadRequest(f"The path '{request['FileSystemPath']}' is associated already.")
        association_id = f"dra-{secrets.token_hex(9)[:17]}"
        owner = f"arn:aws:fsx:{self.region}:{self.current_account}"
        arn = f"{owner}:association/{file_system.file_system_id}/{association_id}"
        tags = request.pop("Tags", [])
        self.fsx_backend.tagger.tag_resource(arn, tags)
        association = {
            **request,
            "AssociationId": association_id,
            "ResourceARN": arn,
            "Lifecycle": "AVAILABLE",
            "Tags": tags,
            "CreationTime": time.time(),
        }
        associations(self.fsx_backend)[association_id] = association
        return json.dumps({"Association": association})

    def describe_data_repository_associations(self) -> str:
        """List associations, by ids or by the filter file-system-id."""
        request = json.loads(self.body)
        found = list(associations(self.fsx_backend).values())
        requested = request.get("AssociationIds")
        for association_id in requested or []:
            self._association(association_id)
        if requested:
            found = [item for item in found if item["AssociationId"] in requested]
        for condition in request.get("Filters", []):
            if condition["Name"] == "file-system-id":
                found = [item for item in found if item["FileSystemId"] in condition["Values"]]
        return json.dumps({"Associations": found})

    def update_data_repository_association(self) -> str:
        """Set the policies and the chunk size."""
        request = json.loads(self.body)
        association = self._association(request["AssociationId"])
        association.update(
            {name: request[name] for name in ("S3", "ImportedFileChunkSize") if name in request}
        )
        return json.dumps({"Association": association})

    def delete_data_repository_association(self) -> str:
        """Unlink."""
        request = json.loads(self.body)
        self._association(request["AssociationId"])
        del associations(self.fsx_backend)[request["AssociationId"]]
        return json.dumps({"AssociationId": request["AssociationId"], "Lifecycle": "DELETING"})

    def _association(self, association_id: str) -> dict[str, Any]:
        try:
            return associations(self.fsx_backend)[association_id]
        except KeyError:
            raise AssociationNotFound(association_id) from None

    def _file_system(self, file_system_id: str) -> FileSystem:
        try:
            found = self.fsx_backend.file_systems[file_system_id]
        except KeyError:
            raise responses_not_found(file_system_id) from None
        assert isinstance(found, FileSystem)
        return found


def responses_not_found(file_system_id: str) -> JsonRESTError:
    """Return FSx's FileSystemNotFound."""
    from moto.fsx.exceptions import FileSystemNotFound

    return FileSystemNotFound(file_system_id)


def associations(backend: models.FSxBackend) -> dict[str, dict[str, Any]]:
    """Return the repository associations of a backend, by id."""
    kept: dict[str, dict[str, Any]] = backend.__dict__.setdefault("emulated_associations", {})
    return kept


def install() -> None:
    """Add the operations to moto's FSx."""
    put_all(responses.FSxResponse, Responses)
