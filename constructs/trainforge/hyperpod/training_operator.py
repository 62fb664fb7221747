"""HyperPod's training operator, which runs HyperPodPyTorchJobs, as an EKS add-on."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from catalog.hyperpod_eks import CHART_NAMESPACE, TRAINING_OPERATOR
from trainforge.acknowledgement import acknowledge
from trainforge.eks.cluster import KubernetesCluster

_ACCOUNT = "hp-training-operator-controller-manager"
_POLICY = "AmazonSageMakerHyperPodTrainingOperatorAccess"


class TrainingOperator(Construct):
    """The add-on and the role of its pods; `after` is what it needs: cert-manager, and HyperPod's cluster.

    The association of account and role is a resource of its own: given with the add-on it does not take effect in
    release v1.2.1-eksbuild.1 (predecessor repository awslabs/awsome-distributed-ai, issue 1075).
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        kubernetes: KubernetesCluster,
        after: Sequence[IDependable],
    ) -> None:
        super().__init__(scope, construct_id)
        role = kubernetes.pod_role("TrainingOperatorRole", description="HyperPod's training operator")
        role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(_POLICY))
        acknowledge(
            role,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_POLICY}]",
            "SageMaker names this policy for the operator and keeps it in step with it",
        )
        association = eks.CfnPodIdentityAssociation(
            self,
            "Identity",
            cluster_name=kubernetes.cluster.cluster_name,
            namespace=CHART_NAMESPACE,
            service_account=_ACCOUNT,
            role_arn=role.role_arn,
        )
        add_on = kubernetes.add_on(TRAINING_OPERATOR)
        # Pods ask for credentials when they start; the role's policies are resources of their own.
        add_on.node.add_dependency(association, role, *after)
