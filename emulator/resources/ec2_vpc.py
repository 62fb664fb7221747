"""VPCs, their ranges, subnets and gateways."""

from __future__ import annotations

from typing import Any

from emulator.resources.resource import Properties, Resource, resource


class Ec2Resource(Resource):
    """A resource of EC2: its tags are set with CreateTags."""

    @property
    def ec2(self) -> Any:
        """Return the EC2 client."""
        return self.aws("ec2")

    @property
    def tagged_id(self) -> str:
        """Return the id that carries the tags."""
        return self.physical_id

    def apply_tags(self) -> None:
        """Make the tags those of the template and the stack, and no others."""
        new_tags = self.tags()
        held = self.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [self.tagged_id]}])["Tags"]
        stale = [{"Key": tag["Key"]} for tag in held if tag["Key"] not in {item["Key"] for item in new_tags}]
        if stale:
            self.ec2.delete_tags(Resources=[self.tagged_id], Tags=stale)
        if new_tags:
            self.ec2.create_tags(Resources=[self.tagged_id], Tags=new_tags)


@resource("AWS::EC2::VPC")
class Vpc(Ec2Resource):
    """A VPC with its DNS attributes."""

    def create(self) -> None:
        """Create it and read its defaults."""
        given = self.only("CidrBlock", "InstanceTenancy", "Ipv4IpamPoolId", "Ipv4NetmaskLength")
        self.physical_id = self.ec2.create_vpc(**given)["Vpc"]["VpcId"]
        self._set_dns()
        self.apply_tags()
        here = [{"Name": "vpc-id", "Values": [self.physical_id]}]
        vpc = self.ec2.describe_vpcs(VpcIds=[self.physical_id])["Vpcs"][0]
        groups = self.ec2.describe_security_groups(Filters=here)["SecurityGroups"]
        acls = self.ec2.describe_network_acls(Filters=here)["NetworkAcls"]
        self.attributes = {
            "VpcId": self.physical_id,
            "CidrBlock": vpc["CidrBlock"],
            "CidrBlockAssociations": [item["AssociationId"] for item in vpc["CidrBlockAssociationSet"]],
            "DefaultSecurityGroup": groups[0]["GroupId"],
            "DefaultNetworkAcl": acls[0]["NetworkAclId"],
            "Ipv6CidrBlocks": [],
        }

    def _set_dns(self) -> None:
        for name in ("EnableDnsSupport", "EnableDnsHostnames"):
            if name in self.properties:
                value = str(self.properties[name]).lower() == "true"
                self.ec2.modify_vpc_attribute(VpcId=self.physical_id, **{name: {"Value": value}})

    def update(self, previous: Properties) -> None:
        """Set DNS attributes and tags."""
        if set(self.changed(previous)) - {"EnableDnsSupport", "EnableDnsHostnames", "Tags"}:
            super().update(previous)
        self._set_dns()
        self.apply_tags()

    def delete(self) -> None:
        """Delete it; EC2 refuses while anything is in it."""
        self.ec2.delete_vpc(VpcId=self.physical_id)


@resource("AWS::EC2::VPCCidrBlock")
class VpcCidrBlock(Ec2Resource):
    """A secondary range of a VPC."""

    def create(self) -> None:
        """Associate the range."""
        given = self.only("VpcId", "CidrBlock", "AmazonProvidedIpv6CidrBlock", "Ipv6CidrBlock", "Ipv6Pool")
        answer = self.ec2.associate_vpc_cidr_block(**given)
        association = answer.get("CidrBlockAssociation") or answer["Ipv6CidrBlockAssociation"]
        self.physical_id = association["AssociationId"]
        self.attributes = {"Id": self.physical_id}

    def delete(self) -> None:
        """Disassociate the range."""
        self.ec2.disassociate_vpc_cidr_block(AssociationId=self.physical_id)


@resource("AWS::EC2::Subnet")
class Subnet(Ec2Resource):
    """A subnet."""

    def create(self) -> None:
        """Create it; EC2 refuses a range outside the VPC's."""
        given = self.only("VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "Ipv6CidrBlock")
        subnet = self.ec2.create_subnet(**given)["Subnet"]
        self.physical_id = subnet["SubnetId"]
        self._set_public_addresses()
        self.apply_tags()
        acls = self.ec2.describe_network_acls(
            Filters=[{"Name": "association.subnet-id", "Values": [self.physical_id]}]
        )["NetworkAcls"]
        associations = [
            association["NetworkAclAssociationId"]
            for acl in acls
            for association in acl["Associations"]
            if association["SubnetId"] == self.physical_id
        ]
        self.attributes = {
            "SubnetId": self.physical_id,
            "AvailabilityZone": subnet["AvailabilityZone"],
            "AvailabilityZoneId": subnet["AvailabilityZoneId"],
            "CidrBlock": subnet["CidrBlock"],
            "VpcId": subnet["VpcId"],
            "Ipv6CidrBlocks": [],
            **({"NetworkAclAssociationId": associations[0]} if associations else {}),
        }

    def _set_public_addresses(self) -> None:
        if "MapPublicIpOnLaunch" in self.properties:
            value = str(self.properties["MapPublicIpOnLaunch"]).lower() == "true"
            self.ec2.modify_subnet_attribute(SubnetId=self.physical_id, MapPublicIpOnLaunch={"Value": value})

    def update(self, previous: Properties) -> None:
        """Set public addresses and tags."""
        if set(self.changed(previous)) - {"MapPublicIpOnLaunch", "Tags"}:
            super().update(previous)
        self._set_public_addresses()
        self.apply_tags()

    def delete(self) -> None:
        """Delete it."""
        self.ec2.delete_subnet(SubnetId=self.physical_id)


@resource("AWS::EC2::InternetGateway")
class InternetGateway(Ec2Resource):
    """An internet gateway."""

    def create(self) -> None:
        """Create it."""
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]
        self.physical_id = gateway["InternetGatewayId"]
        self.apply_tags()
        self.attributes = {"InternetGatewayId": self.physical_id}

    def delete(self) -> None:
        """Delete it."""
        self.ec2.delete_internet_gateway(InternetGatewayId=self.physical_id)


@resource("AWS::EC2::VPCGatewayAttachment")
class VpcGatewayAttachment(Ec2Resource):
    """The attachment of an internet gateway to a VPC."""

    def create(self) -> None:
        """Attach it."""
        self.ec2.attach_internet_gateway(**self.only("InternetGatewayId", "VpcId"))
        self.physical_id = f"IGW|{self.properties['VpcId']}"
        self.attributes = {"AttachmentType": "IGW"}

    def delete(self) -> None:
        """Detach it."""
        self.ec2.detach_internet_gateway(**self.only("InternetGatewayId", "VpcId"))


@resource("AWS::EC2::EIP")
class Eip(Ec2Resource):
    """An elastic IP address. Ref is the address, not the allocation."""

    def create(self) -> None:
        """Allocate it."""
        address = self.ec2.allocate_address(Domain=self.properties.get("Domain", "vpc"))
        self.physical_id = address["PublicIp"]
        self.attributes = {"PublicIp": address["PublicIp"], "AllocationId": address["AllocationId"]}
        self.apply_tags()

    @property
    def tagged_id(self) -> str:
        """Return the allocation's id."""
        return str(self.attributes["AllocationId"])

    def delete(self) -> None:
        """Release it."""
        self.ec2.release_address(AllocationId=self.attributes["AllocationId"])


@resource("AWS::EC2::NatGateway")
class NatGateway(Ec2Resource):
    """A NAT gateway."""

    def create(self) -> None:
        """Create it."""
        given = self.only("SubnetId", "AllocationId", "ConnectivityType", "PrivateIpAddress")
        self.physical_id = self.ec2.create_nat_gateway(**given)["NatGateway"]["NatGatewayId"]
        self.apply_tags()
        self.attributes = {"NatGatewayId": self.physical_id}

    def delete(self) -> None:
        """Delete it; its address is free afterwards."""
        self.ec2.delete_nat_gateway(NatGatewayId=self.physical_id)
