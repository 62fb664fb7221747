"""The network and DNS add-ons of an EKS cluster, which nodes need to become ready and pods to find each other."""

from __future__ import annotations

import json

from aws_cdk import aws_iam as iam

from trainforge.acknowledgement import acknowledge
from trainforge.eks.cluster import KubernetesCluster

_CNI_POLICY = "AmazonEKS_CNI_Policy"


def network_add_ons(cluster: KubernetesCluster, *, pod_addresses: int) -> None:
    """Add pod credentials, pod network and service proxy before nodes, and DNS when the system nodes are ready.

    Each node holds `pod_addresses` IPv4 addresses for its pods, and one more each time that they are used up. The
    network add-on's own way is to hold a whole interface's addresses in reserve, and large types have many: a subnet
    would be used up by nodes that run one pod each (VPC CNI, MINIMUM_IP_TARGET and WARM_IP_TARGET). Its right to
    attach interfaces is a role of its own and not the nodes'.
    """
    cluster.add_on("eks-pod-identity-agent", before_nodes=True)
    role = cluster.pod_role("NetworkRole", description="VPC CNI: interfaces and addresses of pods")
    role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(_CNI_POLICY))
    acknowledge(
        role,
        f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_CNI_POLICY}]",
        "EKS names this policy for the add-on and keeps it in step with it",
    )
    targets = {"MINIMUM_IP_TARGET": str(pod_addresses), "WARM_IP_TARGET": "1"}
    cluster.add_on(
        "vpc-cni",
        before_nodes=True,
        service_account="aws-node",
        role=role,
        configuration=json.dumps({"env": targets}),
    )
    cluster.add_on("kube-proxy", before_nodes=True)
    cluster.add_on("coredns")
