"""FSx's volumes, which moto lacks: the root volume that every OpenZFS file system has.

Source: FSx API reference, DescribeVolumes.
"""

from __future__ import annotations

import json
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.fsx import responses

from emulator.moto_patches import put


class VolumeNotFound(JsonRESTError):
    """FSx's answer for a volume that does not exist."""

    def __init__(self, identifier: str) -> None:
        super().__init__("VolumeNotFound", f"Volume '{identifier}' does not exist.")


def _describe_volumes(self: Any) -> str:
    request = json.loads(self.body)
    volumes = {
        item.root_volume_id: {
            "VolumeId": item.root_volume_id,
            "Name": "fsx",
            "VolumeType": "OPENZFS",
            "FileSystemId": item.file_system_id,
            "Lifecycle": "AVAILABLE",
            "ResourceARN": f"{item.resource_arn.replace(':file-system/', ':volume/')}/{item.root_volume_id}",
            "OpenZFSConfiguration": {"VolumePath": "/fsx"},
        }
        for item in self.fsx_backend.file_systems.values()
        if item.file_system_type == "OPENZFS"
    }
    requested = request.get("VolumeIds") or list(volumes)
    for identifier in requested:
        if identifier not in volumes:
            raise VolumeNotFound(identifier)
    return json.dumps({"Volumes": [volumes[identifier] for identifier in requested]})


def install() -> None:
    """Add DescribeVolumes to moto's FSx."""
    put(responses.FSxResponse, "describe_volumes", _describe_volumes)
