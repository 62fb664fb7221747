"""The role that the nodes of an EKS cluster work under."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from trainforge.acknowledgement import acknowledge, acknowledge_wildcards
from trainforge.session import session_statement

_POLICIES = {
    "AmazonEKSWorkerNodePolicy": "EKS takes no node group without it: nodes ask EC2 who they are, and for the "
    "credentials of their pods",
    "AmazonEC2ContainerRegistryPullOnly": "nodes pull add-ons from accounts of AWS that differ by region",
}


class NodeRole(iam.Role):
    """Role of EKS nodes: join the cluster, pull images, take sessions.

    What pods may do is no business of it: pods have roles of their own (`KubernetesCluster.pod_role`), the network
    add-on too, and do not reach a node's credentials (hop limit 1). Sessions come by Session Manager's least set of
    actions; AmazonSSMManagedInstanceCore would let nodes read every parameter of the account.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Nodes of an EKS cluster",
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(name) for name in _POLICIES],
        )
        self.add_to_policy(session_statement())
        for name, reason in _POLICIES.items():
            acknowledge(
                self, f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{name}]", reason
            )
        acknowledge_wildcards(self, "Session Manager's channels take no resource", "*")
