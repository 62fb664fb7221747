"""The part of a cluster that the functions which apply charts and manifests need."""

from __future__ import annotations

from typing import Protocol

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from constructs import IDependable


class ChartTarget(Protocol):
    """A cluster, where it is in the network, and the nodes that carry what runs on it (`KubernetesCluster`)."""

    cluster: eks.Cluster
    vpc: ec2.IVpc
    security_group: ec2.ISecurityGroup

    @property
    def subnets(self) -> list[ec2.ISubnet]:
        """The private subnets that the control plane is reached in."""

    @property
    def carriers(self) -> IDependable:
        """The nodes that carry the cluster, those that are still to come among them."""
