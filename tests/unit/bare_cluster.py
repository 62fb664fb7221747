"""A stack with an EKS cluster and nothing that runs on it."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from tests.synthesis import context
from trainforge.eks.cluster import ControlPlane, KubernetesCluster


def bare_cluster(folder: Path) -> tuple[cdk.Stack, KubernetesCluster]:
    """Return the stack and its cluster; `folder` takes the assembly."""
    app = cdk.App(outdir=str(folder), context=context())
    stack = cdk.Stack(app, "Bare", env=cdk.Environment(region="us-west-2"))
    vpc = ec2.Vpc(stack, "Vpc", availability_zones=["us-west-2a", "us-west-2b"])
    cluster = KubernetesCluster(
        stack,
        "Kubernetes",
        cluster_name="bare",
        vpc=vpc,
        subnets=vpc.private_subnets,
        security_group=ec2.SecurityGroup(stack, "Nodes", vpc=vpc),
        control_plane=ControlPlane("1.35"),
    )
    return stack, cluster
