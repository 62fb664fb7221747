"""The part of a cluster that the functions which apply charts and manifests need."""

from __future__ import annotations

from typing import Protocol

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from constructs import IDependable


class ChartTarget(Protocol):
    """A cluster, where it is in the network, and its system nodes (`KubernetesCluster`)."""

    cluster: eks.Cluster
    vpc: ec2.IVpc
    security_group: ec2.ISecurityGroup

    @property
    def subnets(self) -> list[ec2.ISubnet]:
        """The private subnets that the control plane is reached in."""

    @property
    def system_nodes(self) -> IDependable:
        """The system nodes, including those that are added later."""
