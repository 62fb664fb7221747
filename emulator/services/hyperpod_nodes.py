"""Replacement of single HyperPod nodes, which moto lacks."""

from __future__ import annotations

import json
from typing import Any

from moto.core.responses import ActionResult
from moto.sagemaker import responses
from moto.sagemaker.exceptions import ValidationError

from emulator.moto_patches import put_all
from emulator.services import sagemaker

_MAX_NODES = 25
"""Nodes in one request (botocore: SageMaker BatchReplaceClusterNodes)."""


class Responses(responses.SageMakerResponse):
    """The operations on single nodes."""

    def batch_replace_cluster_nodes(self) -> ActionResult:
        """Put a new node in place of each; a Slurm controller cannot be replaced."""
        request = json.loads(self.body)
        cluster = sagemaker._cluster(self.sagemaker_backend, request["ClusterName"])
        requested: list[str] = request.get("NodeIds", [])
        if not 1 <= len(requested) <= _MAX_NODES:
            raise ValidationError(message=f"NodeIds takes 1 to {_MAX_NODES} ids, {len(requested)} given.")
        controllers = _controller_groups(cluster.request)
        found = [node_id for node_id in requested if node_id in cluster.nodes]
        for node_id in found:
            if cluster.nodes[node_id].instance_group_name in controllers:
                raise ValidationError(message=f"'{node_id}' is a Slurm controller, which cannot be replaced.")
        for node_id in found:
            del cluster.nodes[node_id]
        cluster.make_nodes()
        failed = [
            {
                "NodeId": node_id,
                "ErrorCode": "InstanceIdNotFound",
                "Message": f"'{node_id}' is not in the cluster.",
            }
            for node_id in requested
            if node_id not in found
        ]
        return ActionResult({"Successful": found, "Failed": failed})


def _controller_groups(request: dict[str, Any]) -> set[str]:
    return {
        group["InstanceGroupName"]
        for group in request.get("InstanceGroups", [])
        if group.get("SlurmConfig", {}).get("NodeType") == "Controller"
    }


def install() -> None:
    """Add the operations to moto's SageMaker."""
    put_all(responses.SageMakerResponse, Responses)
