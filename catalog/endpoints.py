"""The AWS services that a cluster's nodes call, for networks without a way to the internet."""

from __future__ import annotations

INTERFACE_ENDPOINTS: dict[str, tuple[str, ...]] = {
    # Sessions, metrics and logs of nodes, image pulls, interfaces: those of the closed-network mode of the
    # reference HyperPod module. And what nodes ask by our own role: fsx for mounting.
    "hyperpod": (
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "fsx",
        "logs",
        "monitoring",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    # AWS ParallelCluster User Guide, "AWS ParallelCluster in a single subnet with no internet access": CloudFormation,
    # EC2 and logs, and for login nodes Auto Scaling and Elastic Load Balancing. And sessions, images, the metrics of
    # the CloudWatch agent, and what jobs ask by the nodes' role.
    "parallelcluster": (
        "autoscaling",
        "cloudformation",
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "elasticloadbalancing",
        "logs",
        "monitoring",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    # EKS User Guide, "Deploy private clusters with limited internet access": node names, images, logs, and the
    # credentials of pods. And sessions; and the function that applies our objects, which another calls from inside
    # the network (aws-cdk-lib, KubectlProvider).
    "eks": (
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "eks",
        "eks-auth",
        "lambda",
        "logs",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    # The same, for nodes that HyperPod brings. Its chart comes from the internet all the same (`hyperpod-eks-closed`).
    "hyperpod_eks": (
        "ec2",
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "eks",
        "eks-auth",
        "logs",
        "ssm",
        "ssmmessages",
        "sts",
    ),
    # AWS Batch User Guide, "Access AWS Batch using an interface endpoint": the agent of ECS, images, logs. And
    # secrets of jobs, and sessions.
    "batch": (
        "ec2messages",
        "ecr.api",
        "ecr.dkr",
        "ecs",
        "ecs-agent",
        "ecs-telemetry",
        "logs",
        "secretsmanager",
        "ssm",
        "ssmmessages",
    ),
}
"""Interface endpoints by cluster, as the service's part of `com.amazonaws.REGION.SERVICE`. S3 and DynamoDB have
gateway endpoints, which every network gets."""
