"""Security groups and their rules."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from emulator.resources.ec2_vpc import Ec2Resource
from emulator.resources.resource import Properties, resource

_ANYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
"""The way out that EC2 gives to every new group of a VPC."""


def permission(rule: Properties, *, peer: str) -> dict[str, Any]:
    """Return a rule in EC2's form; `peer` is the property that names the other group."""
    result: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    for name in ("FromPort", "ToPort"):
        if name in rule and result["IpProtocol"] != "-1":
            result[name] = int(rule[name])
    described = {"Description": rule["Description"]} if "Description" in rule else {}
    lists = "DestinationPrefixListId" if peer.startswith("Destination") else "SourcePrefixListId"
    if "CidrIp" in rule:
        result["IpRanges"] = [{"CidrIp": rule["CidrIp"], **described}]
    elif "CidrIpv6" in rule:
        result["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"], **described}]
    elif peer in rule:
        result["UserIdGroupPairs"] = [{"GroupId": rule[peer], **described}]
    elif lists in rule:
        result["PrefixListIds"] = [{"PrefixListId": rule[lists], **described}]
    return result


@resource("AWS::EC2::SecurityGroup")
class SecurityGroup(Ec2Resource):
    """A security group with its inline rules."""

    def create(self) -> None:
        """Create it; egress rules of the template replace the default one."""
        name = self.properties.get("GroupName") or self.generated_name(255)
        given = self.only("VpcId")
        answer = self.ec2.create_security_group(
            GroupName=name, Description=self.properties["GroupDescription"], **given
        )
        self.physical_id = answer["GroupId"]
        self.apply_tags()
        self._authorize("Ingress", self.properties.get("SecurityGroupIngress", []))
        egress = self.properties.get("SecurityGroupEgress", [])
        if egress:
            self.ec2.revoke_security_group_egress(GroupId=self.physical_id, IpPermissions=[_ANYWHERE])
        self._authorize("Egress", egress)
        self._read(name)

    def _read(self, name: str) -> None:
        group = self.ec2.describe_security_groups(GroupIds=[self.physical_id])["SecurityGroups"][0]
        self.attributes = {
            "GroupId": self.physical_id,
            "GroupName": name,
            "Id": self.physical_id,
            "VpcId": group.get("VpcId", ""),
        }

    def _authorize(self, direction: str, rules: list[Properties]) -> None:
        self._call("authorize", direction, rules)

    def _call(self, verb: str, direction: str, rules: list[Properties]) -> None:
        peer = "SourceSecurityGroupId" if direction == "Ingress" else "DestinationSecurityGroupId"
        method = getattr(self.ec2, f"{verb}_security_group_{direction.lower()}")
        for rule in rules:
            method(GroupId=self.physical_id, IpPermissions=[permission(rule, peer=peer)])

    def update(self, previous: Properties) -> None:
        """Revoke the rules that are gone, add the new ones, set the tags."""
        for direction in ("Ingress", "Egress"):
            name = f"SecurityGroup{direction}"
            before, after = previous.get(name, []), self.properties.get(name, [])
            if direction == "Egress" and after and not before:
                self.ec2.revoke_security_group_egress(GroupId=self.physical_id, IpPermissions=[_ANYWHERE])
            self._call("revoke", direction, [rule for rule in before if rule not in after])
            self._call("authorize", direction, [rule for rule in after if rule not in before])
            if direction == "Egress" and before and not after:
                self.ec2.authorize_security_group_egress(GroupId=self.physical_id, IpPermissions=[_ANYWHERE])
        self.apply_tags()

    def delete(self) -> None:
        """Delete it; EC2 refuses while another group's rule names it."""
        self.ec2.delete_security_group(GroupId=self.physical_id)


class SecurityGroupRule(Ec2Resource):
    """A rule that is a resource of its own."""

    direction = ""
    peer = ""

    @property
    def _permissions(self) -> list[dict[str, Any]]:
        return [permission(self.properties, peer=self.peer)]

    def create(self) -> None:
        """Add the rule."""
        method = getattr(self.ec2, f"authorize_security_group_{self.direction}")
        try:
            answer = method(GroupId=self.properties["GroupId"], IpPermissions=self._permissions)
            rules = answer["SecurityGroupRules"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidPermission.Duplicate" or not self._default_egress():
                raise
            # The way out that every new group has: CloudFormation takes it for the template's own.
            rules = self._existing()
        self.physical_id = rules[0]["SecurityGroupRuleId"]
        self.attributes = {"Id": self.physical_id}

    def _default_egress(self) -> bool:
        return (
            self.direction == "egress"
            and self.properties.get("CidrIp") == "0.0.0.0/0"
            and (str(self.properties["IpProtocol"]) == "-1")
        )

    def _existing(self) -> list[dict[str, Any]]:
        rules = self.ec2.describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [self.properties["GroupId"]]}]
        )["SecurityGroupRules"]
        return [
            rule
            for rule in rules
            if rule["IsEgress"] and rule["IpProtocol"] == "-1" and rule.get("CidrIpv4") == "0.0.0.0/0"
        ]

    def update(self, previous: Properties) -> None:
        """Set the description, the only thing that can change."""
        del previous
        method = getattr(self.ec2, f"update_security_group_rule_descriptions_{self.direction}")
        method(GroupId=self.properties["GroupId"], IpPermissions=self._permissions)

    def delete(self) -> None:
        """Take the rule back."""
        method = getattr(self.ec2, f"revoke_security_group_{self.direction}")
        method(GroupId=self.properties["GroupId"], IpPermissions=self._permissions)


@resource("AWS::EC2::SecurityGroupIngress")
class SecurityGroupIngress(SecurityGroupRule):
    """A rule for traffic that comes in."""

    direction = "ingress"
    peer = "SourceSecurityGroupId"


@resource("AWS::EC2::SecurityGroupEgress")
class SecurityGroupEgress(SecurityGroupRule):
    """A rule for traffic that goes out."""

    direction = "egress"
    peer = "DestinationSecurityGroupId"
