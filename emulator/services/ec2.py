"""EC2 as AWS has it where moto is lax: what is in use cannot be deleted, and nothing stays behind.

Sources: EC2 API reference, DeleteVpc, DeleteSubnet and DeleteSecurityGroup ("you must ... before").
"""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import EC2Backend

from emulator.moto_patches import put


def add_interface(ec2: Any, subnet_id: str, group_ids: list[str], description: str) -> str:
    """Give a service an interface in a subnet, as AWS's own services take; return its id."""
    interface = ec2.create_network_interface(
        ec2.get_subnet(subnet_id), private_ip_address=None, group_ids=group_ids, description=description
    )
    return str(interface.id)


def remove_interface(ec2: Any, interface_id: str) -> None:
    """Take an interface back; one that is gone is no error."""
    ec2.enis.pop(interface_id, None)


def install() -> None:
    """Wrap moto's deletions."""
    for name, wrapper in (
        ("delete_vpc", _delete_vpc),
        ("delete_subnet", _delete_subnet),
        ("delete_security_group", _delete_security_group),
        ("delete_nat_gateway", _delete_nat_gateway),
    ):
        put(EC2Backend, name, wrapper(getattr(EC2Backend, name)))


def _refuse(kind: str, identifier: str, users: list[str]) -> None:
    if users:
        raise DependencyViolationError(
            f"The {kind} '{identifier}' has dependencies and cannot be deleted: {', '.join(sorted(users))}"
        )


def _delete_vpc(original: Any) -> Any:
    def delete_vpc(ec2: Any, vpc_id: str) -> Any:
        groups = [group.id for group in ec2.groups[vpc_id].values() if group.name != "default"]
        gateways = [item.id for item in ec2.internet_gateways.values() if item.vpc and item.vpc.id == vpc_id]
        endpoints = [
            item.id
            for item in ec2.vpc_end_points.values()
            if item.vpc_id == vpc_id and item.state != "deleted"
        ]
        _refuse("vpc", vpc_id, [*groups, *gateways, *endpoints])
        deleted = original(ec2, vpc_id)
        # moto leaves the default ACL behind, which nobody could delete in AWS.
        for acl in [acl for acl in ec2.network_acls.values() if acl.vpc_id == vpc_id]:
            del ec2.network_acls[acl.id]
        return deleted

    return delete_vpc


def _delete_subnet(original: Any) -> Any:
    def delete_subnet(ec2: Any, subnet_id: str) -> Any:
        users = [f"{eni.id} ({eni.description})" for eni in ec2.enis.values() if eni.subnet.id == subnet_id]
        _refuse("subnet", subnet_id, users)
        return original(ec2, subnet_id)

    return delete_subnet


def _delete_security_group(original: Any) -> Any:
    def delete_security_group(ec2: Any, name: str | None = None, group_id: str | None = None) -> Any:
        users = [
            f"{eni.id} ({eni.description})"
            for eni in ec2.enis.values()
            if group_id in [group.id for group in eni.group_set]
        ]
        for groups in ec2.groups.values():
            for other in groups.values():
                rules = [*other.ingress_rules, *other.egress_rules]
                if other.id != group_id and group_id in [rule.source_group.get("GroupId") for rule in rules]:
                    users.append(f"a rule of {other.id}")
        if group_id:
            _refuse("security group", group_id, users)
        return original(ec2, name=name, group_id=group_id)

    return delete_security_group


def _delete_nat_gateway(original: Any) -> Any:
    def delete_nat_gateway(ec2: Any, nat_gateway_id: str) -> Any:
        deleted = original(ec2, nat_gateway_id)
        # moto leaves the gateway's interface behind.
        remove_interface(ec2, deleted._eni.id)
        return deleted

    return delete_nat_gateway
