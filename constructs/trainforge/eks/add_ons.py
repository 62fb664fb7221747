"""EKS add-ons beside the network's: storage drivers, node health, metrics, certificates, each with the least right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from catalog.eks import AddOn
from catalog.storage import LAUNCH_PREFIX
from trainforge.acknowledgement import acknowledge, acknowledge_wildcards, spelled_arn
from trainforge.eks.cluster import KubernetesCluster

EBS: Final = "aws-ebs-csi-driver"
FSX: Final = "aws-fsx-csi-driver"
S3: Final = "aws-mountpoint-s3-csi-driver"

_EBS_POLICY = "AmazonEBSCSIDriverPolicy"


def add_ons(
    cluster: KubernetesCluster,
    selected: Mapping[str, AddOn],
    *,
    bucket: s3.IBucket,
    hyperpod_cluster_arn: str | None = None,
) -> dict[str, eks.CfnAddon]:
    """Install add-ons on the system nodes; `bucket` is the one that pods see as files.

    Rights come by EKS Pod Identity, to the accounts that the drivers run under. The FSx driver gets none: it mounts a
    file system that exists, and asks AWS for nothing. The EBS driver gets EKS's own policy, which is bound
    to volumes that it has tagged itself; where nodes are a HyperPod cluster's (`hyperpod_cluster_arn`), it may also
    attach volumes to them.
    """
    made = {}
    for name, add_on in selected.items():
        account, role = None, None
        if name == EBS:
            account, role = "ebs-csi-controller-sa", _ebs_role(cluster, hyperpod_cluster_arn)
        elif name == S3:
            account, role = "s3-csi-driver-sa", _s3_role(cluster, bucket)
        made[name] = cluster.add_on(
            name,
            version=add_on.version,
            configuration=json.dumps(add_on.configuration, sort_keys=True) if add_on.configuration else None,
            service_account=account,
            role=role,
        )
    return made


def _ebs_role(cluster: KubernetesCluster, hyperpod_cluster_arn: str | None) -> iam.Role:
    """Return the driver's role.

    The instances of HyperPod's nodes are in an account of the service, so the driver attaches volumes by SageMaker's
    API (aws-ebs-csi-driver, cloud.go: attachDiskHyperPod). The guide asks for DescribeCluster too, which the driver
    itself does not call (SageMaker guide, "Using the Amazon EBS CSI driver on SageMaker HyperPod EKS clusters").
    """
    role = cluster.pod_role("EbsDriverRole", description="EBS CSI driver: volumes of pods")
    role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(f"service-role/{_EBS_POLICY}"))
    acknowledge(
        role,
        f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/{_EBS_POLICY}]",
        "EKS names this policy for the driver and keeps it in step with it; it is bound to the driver's own volumes",
    )
    if hyperpod_cluster_arn:
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["sagemaker:AttachClusterNodeVolume", "sagemaker:DetachClusterNodeVolume"],
                resources=[hyperpod_cluster_arn],
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(actions=["eks:DescribeCluster"], resources=[cluster.cluster_arn])
        )
    return role


def _s3_role(cluster: KubernetesCluster, bucket: s3.IBucket) -> iam.Role:
    """Return a role for one bucket (Mountpoint for Amazon S3, "IAM permissions")."""
    role = cluster.pod_role("BucketDriverRole", description="Mountpoint S3 CSI driver: the data bucket")
    objects = bucket.arn_for_objects("*")
    role.add_to_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]))
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            resources=[objects],
        )
    )
    # Programs that other people's jobs are launched from.
    role.add_to_policy(
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=["s3:DeleteObject", "s3:PutObject"],
            resources=[bucket.arn_for_objects(f"{LAUNCH_PREFIX}/*")],
        )
    )
    acknowledge_wildcards(
        role, "pods see the whole data bucket, and nothing else", f"{spelled_arn(bucket, role)}/*"
    )
    return role
