"""Security groups for EFA traffic and for file systems."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

LUSTRE_PORTS = (ec2.Port.tcp(988), ec2.Port.tcp_range(1018, 1023))
"""Lustre between clients and servers and among servers (FSx for Lustre user guide, "File system access
control with Amazon VPC")."""

NFS_PORTS = (
    ec2.Port.tcp(111),
    ec2.Port.udp(111),
    ec2.Port.tcp(2049),
    ec2.Port.udp(2049),
    ec2.Port.tcp_range(20001, 20003),
    ec2.Port.udp_range(20001, 20003),
)
"""NFS to FSx for OpenZFS (FSx for OpenZFS user guide, "File system access control with Amazon VPC")."""


class EfaSecurityGroup(ec2.SecurityGroup):
    """The security group of every training node: all traffic to and from itself, and all egress.

    EFA's OS-bypass traffic is dropped unless the group names itself in both directions: a rule that allows
    0.0.0.0/0 does not cover it. With the CDK's default egress the rule to itself would be left out as
    redundant, and `add_egress_rule` refuses all traffic to anywhere; hence the explicit egress resource.
    """

    def __init__(self, scope: Construct, construct_id: str, *, vpc: ec2.IVpc) -> None:
        super().__init__(
            scope,
            construct_id,
            vpc=vpc,
            description="Training nodes: EFA traffic among themselves, and out",
            allow_all_outbound=False,
        )
        self.connections.allow_internally(ec2.Port.all_traffic(), "EFA among the nodes")
        ec2.CfnSecurityGroupEgress(
            self,
            "Out",
            group_id=self.security_group_id,
            ip_protocol="-1",
            cidr_ip="0.0.0.0/0",
            description="Out to AWS services, package mirrors and registries",
        )


class FileSystemSecurityGroup(ec2.SecurityGroup):
    """The group of Lustre and OpenZFS file systems: `clients` reach the ports of Lustre and NFS only."""

    def __init__(
        self, scope: Construct, construct_id: str, *, vpc: ec2.IVpc, clients: ec2.ISecurityGroup
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            vpc=vpc,
            description="FSx file systems: Lustre and NFS from training nodes",
            allow_all_outbound=False,
        )
        # The clients' group allows all traffic out as it is; Lustre's servers also call their clients.
        for port in LUSTRE_PORTS:
            self.connections.allow_internally(port, "Lustre among the servers")
            self.add_ingress_rule(clients, port, "Lustre from clients")
            self.add_egress_rule(clients, port, "Lustre to clients")
            clients.add_ingress_rule(self, port, "Lustre from servers")
        for port in NFS_PORTS:
            self.add_ingress_rule(clients, port, "NFS from clients")
