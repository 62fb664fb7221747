"""Session Manager: sessions with instances and nodes of HyperPod, and public parameters with images: moto lacks them.

A session is checked as Session Manager would: the document is there, the target is a node. Nobody listens at the
stream's address.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.sagemaker.models import sagemaker_backends
from moto.ssm import responses
from moto.ssm.exceptions import InvalidDocument

from emulator.moto_patches import put_all

_INSTANCE = re.compile(r"i-[0-9a-f]{17}")
_TARGET = re.compile(
    r"sagemaker-cluster:(?P<cluster>[a-z0-9]{12})_(?P<group>[A-Za-z0-9-]+)-(?P<node>i-[0-9a-f]{17})"
)

_PUBLIC = ("/aws/service/canonical/ubuntu/", "/aws/service/ecs/optimized-ami/amazon-linux-2023/")
"""Public parameters with images, which moto lacks."""
_IMAGE = "ami-1e749f67"
"""An image of Canonical's that moto has; what it holds does not matter, for nothing runs."""


class TargetNotConnected(JsonRESTError):
    """Session Manager's answer for a target that is no connected node."""

    def __init__(self, target: str) -> None:
        super().__init__("TargetNotConnected", f"{target} is not connected.")


class Responses(responses.SimpleSystemManagerResponse):
    """The session operations that moto lacks."""

    def start_session(self) -> ActionResult:
        """Start a session with a node by a session document."""
        request = json.loads(self.body)
        target, document = request["Target"], request.get("DocumentName")
        if document:
            self._check_document(document)
        if not self._connected(target):
            raise TargetNotConnected(target)
        session = f"emulator-{secrets.token_hex(9)[:17]}"
        stream = (
            f"wss://ssmmessages.{self.region}.amazonaws.com/v1/data-channel/{session}?role=publish_subscribe"
        )
        return ActionResult({"SessionId": session, "TokenValue": secrets.token_hex(16), "StreamUrl": stream})

    def get_parameter(self) -> ActionResult:
        """Return a parameter, public ones with images too."""
        name = self._get_param("Name")
        if not name.startswith(_PUBLIC):
            return _get_parameter(self)
        parameter = {
            "Name": name,
            "Type": "String",
            "Value": _IMAGE,
            "Version": 1,
            "DataType": "aws:ec2:image",
        }
        return ActionResult({"Parameter": parameter})

    def _check_document(self, name: str) -> None:
        document = self.ssm_backend._get_documents(name).describe()
        if document["DocumentType"] != "Session":
            raise InvalidDocument(f"Document {name} is not a session document.")

    def _connected(self, target: str) -> bool:
        if _INSTANCE.fullmatch(target):
            return any(
                instance.id == target and instance._state.name == "running"
                for reservation in ec2_backends[self.current_account][self.region].all_reservations()
                for instance in reservation.instances
            )
        found = _TARGET.fullmatch(target)
        if not found:
            return False
        return any(
            cluster.arn.endswith(f":cluster/{found['cluster']}")
            and any(
                node.instance_id == found["node"] and node.instance_group_name == found["group"]
                for node in cluster.nodes.values()
            )
            for cluster in _clusters(self.current_account, self.region)
        )


_get_parameter = responses.SimpleSystemManagerResponse.get_parameter


def _clusters(account: str, region: str) -> list[Any]:
    return list(sagemaker_backends[account][region].clusters.values())


def install() -> None:
    """Add the operations to moto's Systems Manager."""
    put_all(responses.SimpleSystemManagerResponse, Responses)
