"""Rules of the VPC's default security group for the interfaces of jobs."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct


class JobTraffic(Construct):
    """Rules of a VPC's default group: TCP among the jobs in it, and out.

    ECS gives the interface of a job's container the groups of its compute environment, and the VPC's default group
    where that names none (Batch User Guide, "Compute environment considerations for MNP"). An environment whose launch
    template lists interfaces, as EFA needs, may name none: "Either compute environment Security Groups or Network
    Interfaces in Launch template are exclusively allowed" (aws/aws-cdk#21577). So ranks of EFA jobs communicate in the
    default group, whose rules our network removes. These rules allow TCP only: EFA is on the host's interfaces, in the
    nodes' own group. Whatever else names no group is in the default one too; nothing of ours is.
    """

    def __init__(self, scope: Construct, construct_id: str, *, group_id: str) -> None:
        super().__init__(scope, construct_id)
        ec2.CfnSecurityGroupIngress(
            self,
            "Among",
            group_id=group_id,
            source_security_group_id=group_id,
            description="Ranks of jobs among themselves",
            ip_protocol="tcp",
            from_port=0,
            to_port=65535,
        )
        ec2.CfnSecurityGroupEgress(
            self,
            "Out",
            group_id=group_id,
            cidr_ip="0.0.0.0/0",
            description="Jobs, out to each other, AWS services and registries",
            ip_protocol="tcp",
            from_port=0,
            to_port=65535,
        )
