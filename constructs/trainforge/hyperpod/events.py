"""What a HyperPod cluster tells of itself, on the deployment's topic."""

from __future__ import annotations

from trainforge.notifications import Notifications

EVENT_SOURCE = "aws.sagemaker"


def notify(cluster_name: str, notifications: Notifications) -> None:
    """Send a cluster's state changes, events and its nodes' health events to the topic."""
    notifications.on(
        "ClusterState",
        description="State changes of the HyperPod cluster and health of its nodes",
        source=EVENT_SOURCE,
        detail_types=[
            "SageMaker HyperPod Cluster State Change",
            "SageMaker HyperPod Cluster Node Health Event",
        ],
        detail={"ClusterName": [cluster_name]},
    )
    notifications.on(
        "ClusterEvents",
        description="Events of the HyperPod cluster and its instance groups",
        source=EVENT_SOURCE,
        detail_types=["SageMaker HyperPod Cluster Event"],
        detail={"EventDetails": {"ClusterName": [cluster_name]}},
    )
