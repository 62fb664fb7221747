"""A server on Ubuntu: an auto scaling group of one instance in a private subnet, which it replaces when it fails.

Each function makes constructs of the server's own construct, `scope`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.versions import UBUNTU
from trainforge.acknowledgement import acknowledge

_IMAGE = f"/aws/service/canonical/ubuntu/server/{UBUNTU}/stable/current/amd64/hvm/ebs-gp3/ami-id"
"""Canonical's public parameter ("Find Ubuntu images on AWS", documentation.ubuntu.com)."""

_SET_UP = "PT20M"
"""Time in which an instance must have signalled, as an ISO 8601 duration: a failed download is tried for minutes."""

_TEMPLATE = ec2.CfnLaunchTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMachine:
    """The machine of a server: its type, of the x86_64 architecture, and its encrypted root volume in GiB.

    `tags` are those of what the launch template makes, by kind: instance, volume. `script` is the user data.
    """

    instance_type: str
    volume_gib: int
    role: iam.IRole
    security_group: ec2.ISecurityGroup
    tags: Mapping[str, Mapping[str, str]]
    script: str


def server_security_group(
    scope: Construct, vpc: ec2.IVpc, *, description: str, https: str
) -> ec2.SecurityGroup:
    """Return a group without ingress that lets out HTTPS, with `https` as the reason, and HTTP to package mirrors."""
    group = ec2.SecurityGroup(
        scope, "SecurityGroup", vpc=vpc, description=description, allow_all_outbound=False
    )
    for port, reason in ((443, https), (80, "Ubuntu's package mirrors, signed")):
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), reason)
    return group


def server_group(
    scope: Construct,
    machine: ServerMachine,
    subnet: ec2.ISubnet,
    *,
    logical_id: str,
    reason: str,
    suspended: Sequence[str] = (),
) -> autoscaling.CfnAutoScalingGroup:
    """Return the group with its launch template.

    The instance signals by `logical_id` when it is set up, and the deployment waits for that. An update ends the old
    instance before the new one starts; the processes `suspended` rest meanwhile. `reason` says why nobody is told of
    replacements.
    """
    template = _template(scope, machine)
    group = autoscaling.CfnAutoScalingGroup(
        scope,
        "Group",
        min_size="1",
        max_size="1",
        desired_capacity="1",
        vpc_zone_identifier=[subnet.subnet_id],
        launch_template=autoscaling.CfnAutoScalingGroup.LaunchTemplateSpecificationProperty(
            launch_template_id=template.ref, version=template.attr_latest_version_number
        ),
    )
    group.override_logical_id(logical_id)
    group.cfn_options.creation_policy = cdk.CfnCreationPolicy(
        resource_signal=cdk.CfnResourceSignal(count=1, timeout=_SET_UP)
    )
    group.cfn_options.update_policy = cdk.CfnUpdatePolicy(
        auto_scaling_rolling_update=cdk.CfnAutoScalingRollingUpdate(
            min_instances_in_service=0,
            max_batch_size=1,
            wait_on_resource_signals=True,
            pause_time=_SET_UP,
            suspend_processes=list(suspended) or None,
        )
    )
    acknowledge(group, "AwsSolutions-AS3", reason)
    return group


def _template(scope: Construct, machine: ServerMachine) -> ec2.CfnLaunchTemplate:
    profile = iam.CfnInstanceProfile(scope, "Profile", roles=[machine.role.role_name])
    image = ssm.StringParameter.value_for_typed_string_parameter_v2(
        scope, _IMAGE, ssm.ParameterValueType.AWS_EC2_IMAGE_ID
    )
    root = _TEMPLATE.EbsProperty(
        volume_size=machine.volume_gib, volume_type="gp3", encrypted=True, delete_on_termination=True
    )
    return _TEMPLATE(
        scope,
        "Template",
        launch_template_data=_TEMPLATE.LaunchTemplateDataProperty(
            image_id=image,
            instance_type=machine.instance_type,
            iam_instance_profile=_TEMPLATE.IamInstanceProfileProperty(arn=profile.attr_arn),
            security_group_ids=[machine.security_group.security_group_id],
            metadata_options=_TEMPLATE.MetadataOptionsProperty(
                http_tokens="required", http_put_response_hop_limit=1
            ),
            block_device_mappings=[_TEMPLATE.BlockDeviceMappingProperty(device_name="/dev/sda1", ebs=root)],
            tag_specifications=[
                _TEMPLATE.TagSpecificationProperty(
                    resource_type=kind,
                    tags=[cdk.CfnTag(key=key, value=value) for key, value in tags.items()],
                )
                for kind, tags in machine.tags.items()
            ],
            user_data=cdk.Fn.base64(machine.script),
        ),
    )
