"""Event rules of a HyperPod cluster that notify the deployment's topic."""

from __future__ import annotations

from trainforge.notifications import Notifications

EVENT_SOURCE = "aws.sagemaker"


def notify(cluster_name: str, notifications: Notifications) -> None:
    """Send a cluster's state changes, its warnings and errors, and its nodes' health events to the topic.

    Cluster events come from clusters with continuous provisioning only (SageMaker guide, "SageMaker HyperPod cluster
    events reference", which has the fields and levels).
    """
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
        description="Warnings and errors of the HyperPod cluster, its instance groups and nodes",
        source=EVENT_SOURCE,
        detail_types=["SageMaker HyperPod Cluster Event"],
        # Every node that starts, stops or is patched is an event of level Info, and would be an e-mail.
        detail={"EventDetails": {"ClusterName": [cluster_name], "EventLevel": ["Warn", "Error"]}},
    )
