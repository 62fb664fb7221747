"""The AWS services that a cluster's nodes call, for networks without a way to the internet."""

from __future__ import annotations

INTERFACE_ENDPOINTS: dict[str, tuple[str, ...]] = {
    # Registration, sessions, metrics and logs of nodes, image pulls, mounts, and the accounting secret.
    # Source: the closed-network mode of the reference HyperPod module (ec2, ecr, sts, logs, monitoring, ssm
    # and messages), and the services that our own node role grants (sagemaker, fsx, kms, secretsmanager).
    "hyperpod": (
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "fsx",
        "kms",
        "logs",
        "monitoring",
        "sagemaker.api",
        "secretsmanager",
        "ssm",
        "ssmmessages",
        "sts",
    ),
}
"""Interface endpoints by cluster, as the service's part of `com.amazonaws.REGION.SERVICE`. S3 and DynamoDB have
gateway endpoints, which every network gets."""
