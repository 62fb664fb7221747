"""Machines of EC2: launch templates, volumes, and groups that keep instances running."""

from __future__ import annotations

from typing import Any

from emulator.resources.ec2_vpc import Ec2Resource
from emulator.resources.request import call
from emulator.resources.resource import Properties, Resource, resource


@resource("AWS::EC2::LaunchTemplate")
class LaunchTemplate(Ec2Resource):
    """A launch template. An update is a new version of it."""

    def create(self) -> None:
        """Create it with its first version."""
        name = self.properties.get("LaunchTemplateName") or self.generated_name(128)
        answer = call(
            self.ec2,
            "create_launch_template",
            {"LaunchTemplateName": name, "LaunchTemplateData": self.properties["LaunchTemplateData"]},
        )
        self.physical_id = answer["LaunchTemplate"]["LaunchTemplateId"]
        self.apply_tags()
        self._read()

    def _read(self) -> None:
        found = self.ec2.describe_launch_templates(LaunchTemplateIds=[self.physical_id])["LaunchTemplates"][0]
        self.attributes = {
            "LaunchTemplateId": self.physical_id,
            "DefaultVersionNumber": str(found["DefaultVersionNumber"]),
            "LatestVersionNumber": str(found["LatestVersionNumber"]),
        }

    def update(self, previous: Properties) -> None:
        """Make a version of what changed."""
        changed = set(self.changed(previous))
        if changed - {"LaunchTemplateData", "TagSpecifications", "VersionDescription"}:
            super().update(previous)
        if "LaunchTemplateData" in changed:
            data = self.properties["LaunchTemplateData"]
            given = {"LaunchTemplateId": self.physical_id, "LaunchTemplateData": data}
            call(self.ec2, "create_launch_template_version", given)
        self._read()

    def delete(self) -> None:
        """Delete it with all its versions."""
        self.ec2.delete_launch_template(LaunchTemplateId=self.physical_id)


@resource("AWS::EC2::PlacementGroup")
class PlacementGroup(Ec2Resource):
    """A placement group. Ref is its name."""

    def create(self) -> None:
        """Create it."""
        name = self.generated_name(255)
        call(self.ec2, "create_placement_group", {"GroupName": name, **self.only("Strategy", "SpreadLevel")})
        self.physical_id = name
        self.attributes = {"GroupName": name}

    def delete(self) -> None:
        """Delete it."""
        self.ec2.delete_placement_group(GroupName=self.physical_id)


@resource("AWS::EC2::Volume")
class Volume(Ec2Resource):
    """A volume."""

    def create(self) -> None:
        """Create it."""
        given = self.only(
            "AvailabilityZone",
            "Encrypted",
            "Iops",
            "KmsKeyId",
            "Size",
            "SnapshotId",
            "Throughput",
            "VolumeType",
        )
        self.physical_id = call(self.ec2, "create_volume", given)["VolumeId"]
        self.attributes = {"VolumeId": self.physical_id}
        self.apply_tags()

    def delete(self) -> None:
        """Delete it; EC2 refuses while an instance has it."""
        self.ec2.delete_volume(VolumeId=self.physical_id)


@resource("AWS::AutoScaling::AutoScalingGroup")
class AutoScalingGroup(Resource):
    """A group that starts its instances. They run nothing, so their signals are not waited for."""

    _GIVEN = ("MinSize", "MaxSize", "DesiredCapacity", "HealthCheckType", "HealthCheckGracePeriod")

    def create(self) -> None:
        """Create it with its instances."""
        name = self.properties.get("AutoScalingGroupName") or self.generated_name(255)
        call(
            self.aws("autoscaling"),
            "create_auto_scaling_group",
            {"AutoScalingGroupName": name, **self._described(), **self._tags_of(name)},
        )
        self.physical_id = name

    def _described(self) -> dict[str, Any]:
        given = self.only(*self._GIVEN)
        if "LaunchTemplate" in self.properties:
            template = dict(self.properties["LaunchTemplate"])
            given["LaunchTemplate"] = {**template, "Version": str(template["Version"])}
        if "VPCZoneIdentifier" in self.properties:
            given["VPCZoneIdentifier"] = ",".join(self.properties["VPCZoneIdentifier"])
        return given

    def _tags_of(self, name: str) -> dict[str, Any]:
        tags = [
            {
                **tag,
                "ResourceId": name,
                "ResourceType": "auto-scaling-group",
                "PropagateAtLaunch": tag.get("PropagateAtLaunch", False),
            }
            for tag in self.properties.get("Tags", [])
        ]
        return {"Tags": tags} if tags else {}

    def update(self, previous: Properties) -> None:
        """Change sizes and template; instances are replaced, as a rolling update does."""
        changed = set(self.changed(previous))
        if changed - {*self._GIVEN, "LaunchTemplate", "Tags"}:
            super().update(previous)
        group = self.aws("autoscaling")
        call(
            group,
            "update_auto_scaling_group",
            {"AutoScalingGroupName": self.physical_id, **self._described()},
        )
        if "LaunchTemplate" in changed:
            former = self.instances()
            for instance in former:
                group.terminate_instance_in_auto_scaling_group(
                    InstanceId=instance, ShouldDecrementDesiredCapacity=False
                )
            self._clear(former)

    def instances(self) -> list[str]:
        """Return the ids of its instances."""
        found = self.aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.physical_id])
        return [one["InstanceId"] for one in found["AutoScalingGroups"][0]["Instances"]]

    def delete(self) -> None:
        """Delete it with its instances."""
        former = self.instances()
        self.aws("autoscaling").delete_auto_scaling_group(
            AutoScalingGroupName=self.physical_id, ForceDelete=True
        )
        self._clear(former)

    def _clear(self, instances: list[str]) -> None:
        """Remove what goes with terminated instances in EC2 and stays in moto."""
        if not instances:
            return
        ec2 = self.aws("ec2")
        theirs = [{"Name": "attachment.instance-id", "Values": instances}]
        for interface in ec2.describe_network_interfaces(Filters=theirs)["NetworkInterfaces"]:
            ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
