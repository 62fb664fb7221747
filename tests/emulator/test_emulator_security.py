"""Security groups and their rules, inside the group and beside it, in both directions."""

from __future__ import annotations

from typing import Any

from tests.emulator.formation import Formation, att, ref, resources
from tests.emulator.test_emulator_network import ANYWHERE, GROUP, VPC, ec2


def rule(peer: str, **more: Any) -> dict[str, Any]:
    return {"GroupId": att("Group", "GroupId"), "IpProtocol": "-1", peer: att("Group", "GroupId"), **more}


def test_a_group_allows_itself_in_both_directions_and_out(formation: Formation) -> None:
    everywhere = {"GroupId": att("Group", "GroupId"), "IpProtocol": "-1", "CidrIp": ANYWHERE}
    template = resources(
        Vpc=VPC["Vpc"],
        Group=GROUP,
        In=("AWS::EC2::SecurityGroupIngress", rule("SourceSecurityGroupId", Description="EFA")),
        Out=("AWS::EC2::SecurityGroupEgress", rule("DestinationSecurityGroupId", Description="EFA")),
        # The default way out is there already: CloudFormation takes it for this one.
        Anywhere=("AWS::EC2::SecurityGroupEgress", everywhere),
    )
    with formation.deployed(template) as name:
        held = formation.physical_id(name, "Group")
        group = ec2(formation).describe_security_groups(GroupIds=[held])["SecurityGroups"][0]

        def peers(permissions: list[dict[str, Any]]) -> list[str]:
            return [pair["GroupId"] for item in permissions for pair in item["UserIdGroupPairs"]]

        assert peers(group["IpPermissions"]) == [held]
        assert peers(group["IpPermissionsEgress"]) == [held]
        ways_out = [item["CidrIp"] for entry in group["IpPermissionsEgress"] for item in entry["IpRanges"]]
        assert ways_out == [ANYWHERE]
        assert formation.physical_id(name, "Anywhere").startswith("sgr-")


def test_any_other_rule_given_twice_fails(formation: Formation) -> None:
    twice = ("AWS::EC2::SecurityGroupEgress", rule("DestinationSecurityGroupId"))
    name = formation.create(resources(Vpc=VPC["Vpc"], Group=GROUP, One=twice, Two=twice))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "InvalidPermission.Duplicate" in formation.reasons(name)


def test_inline_rules_of_a_group_replace_the_default_egress(formation: Formation) -> None:
    inside = {
        "GroupDescription": "files",
        "VpcId": ref("Vpc"),
        "SecurityGroupIngress": [
            {
                "IpProtocol": "tcp",
                "FromPort": 988,
                "ToPort": 988,
                "CidrIp": "10.0.0.0/16",
                "Description": "Lustre",
            }
        ],
        "SecurityGroupEgress": [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": ANYWHERE}],
    }
    template = resources(Vpc=VPC["Vpc"], Group=("AWS::EC2::SecurityGroup", inside))
    with formation.deployed(template) as name:
        held = formation.physical_id(name, "Group")

        def ports(direction: str) -> list[int]:
            group = ec2(formation).describe_security_groups(GroupIds=[held])["SecurityGroups"][0]
            return [item.get("FromPort", -1) for item in group[direction]]

        assert (ports("IpPermissions"), ports("IpPermissionsEgress")) == ([988], [443])
        properties = template["Resources"]["Group"]["Properties"]
        properties["SecurityGroupIngress"][0] |= {"FromPort": 1018, "ToPort": 1023}
        del properties["SecurityGroupEgress"]
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert (ports("IpPermissions"), ports("IpPermissionsEgress")) == ([1018], [-1])


def test_a_rule_description_changes_in_place(formation: Formation) -> None:
    given = {
        "GroupId": ref("Group"),
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "CidrIp": "10.0.0.0/8",
    }
    template = resources(Vpc=VPC["Vpc"], Group=GROUP, In=("AWS::EC2::SecurityGroupIngress", given))
    with formation.deployed(template) as name:
        held = formation.physical_id(name, "In")
        template["Resources"]["In"]["Properties"]["Description"] = "new words"
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert formation.physical_id(name, "In") == held
        filters = [{"Name": "group-id", "Values": [formation.physical_id(name, "Group")]}]
        rules = ec2(formation).describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
        assert [item["Description"] for item in rules if not item["IsEgress"]] == ["new words"]
