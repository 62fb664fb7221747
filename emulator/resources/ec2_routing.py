"""Route tables, routes, VPC endpoints and flow logs."""

from __future__ import annotations

import json
from typing import Any

from emulator.resources.ec2_vpc import Ec2Resource
from emulator.resources.resource import Properties, resource

_TARGETS = (
    "CarrierGatewayId",
    "EgressOnlyInternetGatewayId",
    "GatewayId",
    "InstanceId",
    "LocalGatewayId",
    "NatGatewayId",
    "NetworkInterfaceId",
    "TransitGatewayId",
    "VpcEndpointId",
    "VpcPeeringConnectionId",
)
_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


@resource("AWS::EC2::RouteTable")
class RouteTable(Ec2Resource):
    """A route table."""

    def create(self) -> None:
        """Create it."""
        table = self.ec2.create_route_table(VpcId=self.properties["VpcId"])["RouteTable"]
        self.physical_id = table["RouteTableId"]
        self.apply_tags()
        self.attributes = {"RouteTableId": self.physical_id}

    def delete(self) -> None:
        """Delete it; EC2 refuses while subnets use it."""
        self.ec2.delete_route_table(RouteTableId=self.physical_id)


@resource("AWS::EC2::SubnetRouteTableAssociation")
class SubnetRouteTableAssociation(Ec2Resource):
    """The route table of a subnet."""

    # CloudFormation's reference: "Update requires: No interruption"; a subnet has one association at a time.
    in_place = frozenset({"RouteTableId"})

    def create(self) -> None:
        """Associate them."""
        answer = self.ec2.associate_route_table(**self.only("RouteTableId", "SubnetId"))
        self.physical_id = answer["AssociationId"]
        self.attributes = {"Id": self.physical_id}

    def update(self, previous: Properties) -> None:
        """Give the subnet another route table."""
        del previous
        answer = self.ec2.replace_route_table_association(
            AssociationId=self.physical_id, RouteTableId=self.properties["RouteTableId"]
        )
        self.physical_id = answer["NewAssociationId"]
        self.attributes = {"Id": self.physical_id}

    def delete(self) -> None:
        """Give the subnet back to the main route table."""
        self.ec2.disassociate_route_table(AssociationId=self.physical_id)


@resource("AWS::EC2::Route")
class Route(Ec2Resource):
    """A route."""

    def create(self) -> None:
        """Create it."""
        self.ec2.create_route(**self.only("RouteTableId", *_DESTINATIONS, *_TARGETS))
        destination = next(iter(self.only(*_DESTINATIONS).values()))
        self.physical_id = f"{self.properties['RouteTableId']}|{destination}"
        self.attributes = {"CidrBlock": destination}

    def update(self, previous: Properties) -> None:
        """Point it elsewhere."""
        del previous
        self.ec2.replace_route(**self.only("RouteTableId", *_DESTINATIONS, *_TARGETS))

    def delete(self) -> None:
        """Delete it."""
        self.ec2.delete_route(**self.only("RouteTableId", *_DESTINATIONS))


@resource("AWS::EC2::VPCEndpoint")
class VpcEndpoint(Ec2Resource):
    """A gateway or interface endpoint."""

    def create(self) -> None:
        """Create it, with its policy as text."""
        given = self.only("VpcId", "ServiceName", "RouteTableIds", "SubnetIds", "SecurityGroupIds")
        given["VpcEndpointType"] = self.properties.get("VpcEndpointType", "Gateway")
        if "PrivateDnsEnabled" in self.properties:
            given["PrivateDnsEnabled"] = str(self.properties["PrivateDnsEnabled"]).lower() == "true"
        endpoint = self.ec2.create_vpc_endpoint(**given, **self._policy())["VpcEndpoint"]
        self.physical_id = endpoint["VpcEndpointId"]
        self.apply_tags()
        self.attributes = {
            "Id": self.physical_id,
            "CreationTimestamp": str(endpoint["CreationTimestamp"]),
            "DnsEntries": [
                f"{entry['HostedZoneId']}:{entry['DnsName']}" for entry in endpoint.get("DnsEntries", [])
            ],
            "NetworkInterfaceIds": endpoint.get("NetworkInterfaceIds", []),
        }

    def _policy(self) -> dict[str, str]:
        document = self.properties.get("PolicyDocument")
        if document is None:
            return {}
        return {"PolicyDocument": document if isinstance(document, str) else json.dumps(document)}

    def update(self, previous: Properties) -> None:
        """Add and remove route tables, subnets and security groups; set the policy and private DNS."""
        changes: dict[str, Any] = {}
        for name, add, remove in (
            ("RouteTableIds", "AddRouteTableIds", "RemoveRouteTableIds"),
            ("SubnetIds", "AddSubnetIds", "RemoveSubnetIds"),
            ("SecurityGroupIds", "AddSecurityGroupIds", "RemoveSecurityGroupIds"),
        ):
            before, after = previous.get(name, []), self.properties.get(name, [])
            changes[add] = [item for item in after if item not in before]
            changes[remove] = [item for item in before if item not in after]
        changes = {name: items for name, items in changes.items() if items}
        self.ec2.modify_vpc_endpoint(VpcEndpointId=self.physical_id, **changes, **self._policy())
        self.apply_tags()

    def delete(self) -> None:
        """Delete it, with its interfaces or routes."""
        self.ec2.delete_vpc_endpoints(VpcEndpointIds=[self.physical_id])


@resource("AWS::EC2::FlowLog")
class FlowLog(Ec2Resource):
    """A flow log of a VPC, a subnet or an interface."""

    def create(self) -> None:
        """Create it; EC2 checks that the destination exists."""
        given = self.only(
            "ResourceType",
            "TrafficType",
            "LogDestinationType",
            "LogDestination",
            "LogGroupName",
            "DeliverLogsPermissionArn",
            "LogFormat",
        )
        if "MaxAggregationInterval" in self.properties:
            given["MaxAggregationInterval"] = int(self.properties["MaxAggregationInterval"])
        answer = self.ec2.create_flow_logs(ResourceIds=[self.properties["ResourceId"]], **given)
        for failure in answer.get("Unsuccessful", []):
            self.fail(failure["Error"]["Message"])
        self.physical_id = answer["FlowLogIds"][0]
        self.apply_tags()
        self.attributes = {"Id": self.physical_id}

    def delete(self) -> None:
        """Delete it."""
        self.ec2.delete_flow_logs(FlowLogIds=[self.physical_id])
