"""Session Manager: StartSession for nodes of HyperPod clusters, which moto lacks.

It checks what Session Manager would: that the document is there and that the target is a node. Nobody listens
at the stream's address.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.sagemaker.models import sagemaker_backends
from moto.ssm import responses
from moto.ssm.exceptions import InvalidDocument

_TARGET = re.compile(
    r"sagemaker-cluster:(?P<cluster>[a-z0-9]{12})_(?P<group>[A-Za-z0-9-]+)-(?P<node>i-[0-9a-f]{17})"
)


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

    def _check_document(self, name: str) -> None:
        document = self.ssm_backend._get_documents(name).describe()
        if document["DocumentType"] != "Session":
            raise InvalidDocument(f"Document {name} is not a session document.")

    def _connected(self, target: str) -> bool:
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


def _clusters(account: str, region: str) -> list[Any]:
    return list(sagemaker_backends[account][region].clusters.values())


def install() -> None:
    """Add the operations to moto's Systems Manager."""
    for name, member in vars(Responses).items():
        if callable(member):
            setattr(responses.SimpleSystemManagerResponse, name, member)
