"""Hosted zones."""

from __future__ import annotations

import uuid

from emulator.resources.resource import Resource, resource


@resource("AWS::Route53::HostedZone")
class HostedZone(Resource):
    """A hosted zone, private where VPCs are named. A zone that has records of others is not deleted, as in AWS."""

    def create(self) -> None:
        """Create it."""
        route53 = self.aws("route53")
        vpcs = self.properties.get("VPCs", [])
        given = {"VPC": vpcs[0]} if vpcs else {}
        comment = self.properties.get("HostedZoneConfig", {}).get("Comment", "")
        answer = route53.create_hosted_zone(
            Name=self.properties["Name"],
            CallerReference=str(uuid.uuid4()),
            HostedZoneConfig={"Comment": comment, "PrivateZone": bool(vpcs)},
            **given,
        )
        self.physical_id = answer["HostedZone"]["Id"].removeprefix("/hostedzone/")
        servers = answer.get("DelegationSet", {}).get("NameServers", [])
        self.attributes = {"Id": self.physical_id, "NameServers": servers}
        self.apply_tags()

    def tags(self) -> list[dict[str, str]]:
        """Return the tags, which the template calls HostedZoneTags."""
        own = {tag["Key"]: tag["Value"] for tag in self.properties.get("HostedZoneTags", [])}
        merged = dict(self.context.stack_tags) | own
        return [{"Key": key, "Value": value} for key, value in merged.items()]

    def apply_tags(self) -> None:
        """Set the tags."""
        if new_tags := self.tags():
            self.aws("route53").change_tags_for_resource(
                ResourceType="hostedzone", ResourceId=self.physical_id, AddTags=new_tags
            )

    def delete(self) -> None:
        """Delete it, unless it has records of others."""
        records = self.aws("route53").list_resource_record_sets(HostedZoneId=self.physical_id)
        others = [one["Name"] for one in records["ResourceRecordSets"] if one["Type"] not in ("NS", "SOA")]
        if others:
            self.fail(f"the hosted zone contains non-required resource record sets ({', '.join(others)})")
        self.aws("route53").delete_hosted_zone(Id=self.physical_id)
