"""Every internal of moto that the emulator replaces, adds to or calls: one list, which a test compares with moto.

moto promises nothing about these. When a test of this list fails after moto was changed: read what moto has now,
drop what it does as AWS does, correct the rest, then take the new digest from `python -m emulator.moto_patches`.
"""

from __future__ import annotations

import hashlib
import inspect
import pkgutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Replaced:
    """Attributes of one of moto's objects that give way to ours, with the digests of moto's source, and why."""

    owner: str
    digests: Mapping[str, str]
    reason: str


REPLACED: tuple[Replaced, ...] = (
    Replaced(
        "moto.batch.models:BatchBackend",
        {
            "create_compute_environment": "b9edbd20cc8aef52",
            "update_compute_environment": "305a4f99f4e22d50",
            "delete_compute_environment": "447aff7ce7500647",
            "delete_job_queue": "b5b04b193a1c426c",
            "delete_scheduling_policy": "6c5b0010c7c0d45d",
        },
        "moto wants a service role, takes updates and changes nothing, and deletes what is in use",
    ),
    Replaced(
        "moto.batch.models:JobDefinition",
        {"describe": "e2fb48dae20bd3df"},
        "the nodes of a definition are left out",
    ),
    Replaced(
        "moto.batch.models:JobQueue",
        {"describe": "0f1f2625ae46a380"},
        "the time limits of a queue are left out",
    ),
    Replaced(
        "moto.batch.responses:BatchResponse",
        {"createjobqueue": "c235e7e68bdde86c", "updatejobqueue": "e6a3f9a663ff1057"},
        "the time limits of a queue are not kept",
    ),
    Replaced(
        "moto.cloudformation.models:cloudformation_backends",
        {"backend": "97553e667e9a86b4"},
        "the engine takes the place of moto's CloudFormation",
    ),
    Replaced(
        "moto.cloudformation.responses",
        {"get_stack_from_s3_url": "cbefd272145adb46"},
        "moto takes the first number of an address for a bucket",
    ),
    Replaced(
        "moto.cloudformation.responses:CloudFormationResponse",
        {
            "create_change_set": "5447606877f3bf55",
            "describe_change_set": "fc2ccfcc4de5e54a",
            "delete_change_set": "1e0c35954da0f651",
            "execute_change_set": "5dfbff437b43a237",
            "list_change_sets": "5d926b0009e1e790",
        },
        "a change set is looked for in every stack, its tags are not described, and a missing one is a ValidationError",
    ),
    Replaced(
        "moto.ec2.models:EC2Backend",
        {
            "delete_vpc": "9c9acc33c6cab2ac",
            "delete_subnet": "8febbd1816d72764",
            "delete_security_group": "b0ef9359f6354981",
            "delete_nat_gateway": "7b921d3edb72c7ec",
        },
        "what is in use can be deleted, and a gateway's interface and a VPC's default ACL stay behind",
    ),
    Replaced(
        "moto.ec2.responses.instances:InstanceResponse",
        {"_validate_block_device_mapping": "4959c99d0e77f44e"},
        "instance store volumes and root volumes of their image's size are refused",
    ),
    Replaced(
        "moto.eks.models:EKSBackend",
        {"create_cluster": "73f603f83f6c7ada", "delete_cluster": "e218bad854d44e24"},
        "a cluster has no security group of its own",
    ),
    Replaced(
        "moto.eks.responses:EKSResponse",
        {
            "create_nodegroup": "45afe096545d8819",
            "update_nodegroup_config": "a31c563e647033aa",
            "delete_nodegroup": "c99155802b47ab95",
        },
        "how a node group is updated and repaired is not kept, and its nodes are none of a control plane",
    ),
    Replaced(
        "moto.fsx.responses:FSxResponse",
        {"create_file_system": "857cafacdf7cc46b", "delete_file_system": "ce563039bacf1ff0"},
        "part of a file system is kept, and no final backup made",
    ),
    Replaced(
        "moto.s3.models:FakeBucket",
        {"get_permission": "b3db6065ceb37078", "_log_permissions_enabled_policy": "f77e98b11d14a1a0"},
        "every Deny of a bucket policy is taken for met, whatever its Condition; a log target needs its policy at once",
    ),
    Replaced(
        "moto.s3.models:S3Backend",
        {"log_incoming_request": "ac7127f997cd12d8"},
        "access logs of a deletion would keep the log bucket from its own",
    ),
    Replaced(
        "moto.sagemaker.models:SageMakerModelBackend",
        {
            "_get_resource_from_arn": "cab16576c96938aa",
            "describe_cluster": "8216545268f0e610",
            "delete_cluster": "07eca10f9a27538e",
            "describe_cluster_node": "571206fb24115862",
            "list_cluster_nodes": "47485a519b29992f",
        },
        "a cluster is found by name alone, its tags by an ARN that AWS does not use",
    ),
    Replaced(
        "moto.sagemaker.responses:SageMakerResponse",
        {"create_cluster": "9417a4934e536de5"},
        "name, groups and VPC of a cluster are kept, lifecycle scripts demanded, and types an old list",
    ),
    Replaced(
        "moto.ssm.responses:SimpleSystemManagerResponse",
        {"get_parameter": "3560325f9c466f4c"},
        "public parameters with images are few",
    ),
)
"""The difference between moto and AWS."""

ADDED: Mapping[str, tuple[str, ...]] = {
    "moto.cloudformation.responses:CloudFormationResponse": ("_engine", "_named", "_tags"),
    "moto.cloudtrail.responses:CloudTrailResponse": ("lookup_events",),
    "moto.ec2.responses:EC2Response": (
        "create_capacity_reservation",
        "describe_capacity_reservations",
        "describe_capacity_block_offerings",
        "purchase_capacity_block",
        "create_placement_group",
        "describe_placement_groups",
        "delete_placement_group",
    ),
    "moto.eks.models:EKSBackend": ("_ec2",),
    "moto.eks.responses:EKSResponse": (
        "_cluster",
        "update_nodegroup_version",
        "create_access_entry",
        "describe_access_entry",
        "list_access_entries",
        "delete_access_entry",
        "associate_access_policy",
        "disassociate_access_policy",
        "list_associated_access_policies",
        "create_addon",
        "describe_addon",
        "list_addons",
        "update_addon",
        "delete_addon",
        "create_pod_identity_association",
        "describe_pod_identity_association",
        "list_pod_identity_associations",
        "delete_pod_identity_association",
    ),
    "moto.fsx.responses:FSxResponse": (
        "_association",
        "_file_system",
        "create_data_repository_association",
        "describe_data_repository_associations",
        "update_data_repository_association",
        "delete_data_repository_association",
        "describe_volumes",
        "update_file_system",
    ),
    "moto.sagemaker.responses:SageMakerResponse": (
        "batch_replace_cluster_nodes",
        "update_cluster",
        "create_cluster_scheduler_config",
        "describe_cluster_scheduler_config",
        "list_cluster_scheduler_configs",
        "update_cluster_scheduler_config",
        "delete_cluster_scheduler_config",
        "create_compute_quota",
        "describe_compute_quota",
        "list_compute_quotas",
        "update_compute_quota",
        "delete_compute_quota",
    ),
    "moto.ssm.responses:SimpleSystemManagerResponse": ("_check_document", "_connected", "start_session"),
}
"""Operations that moto lacks, and what they share. One that moto gains is to be dropped here."""

CALLED: Mapping[str, tuple[str, ...]] = {
    "moto.awslambda.utils:get_backend": ("account_id", "region"),
    "moto.batch.models:BatchBackend._validate_compute_resources": ("self", "cr"),
    "moto.batch.models:ComputeEnvironment": (
        "compute_environment_name",
        "_type",
        "state",
        "compute_resources",
        "service_role",
        "account_id",
        "region_name",
    ),
    "moto.cloudformation.models:Event": (
        "stack_id",
        "stack_name",
        "logical_resource_id",
        "physical_resource_id",
        "resource_type",
        "resource_status",
        "resource_status_reason",
        "resource_properties",
    ),
    "moto.cloudformation.parsing:Export": ("exporting_stack_id", "name", "value"),
    "moto.cloudformation.parsing:get_model_map": (),
    "moto.cloudformation.responses:CloudFormationResponse._get_stack_from_s3_url": ("self", "template_url"),
    "moto.cloudformation.responses:CloudFormationResponse.validate_template_and_stack_body": ("self",),
    "moto.cloudformation.utils:generate_changeset_id": ("changeset_name", "region_name", "account_id"),
    "moto.cloudformation.utils:generate_stack_id": ("stack_name", "region", "account"),
    "moto.core.responses:BaseResponse._get_param": ("self", "param_name", "if_none"),
    "moto.ec2.models:EC2Backend.authorize_security_group_ingress": (
        "self",
        "group_name_or_id",
        "ip_protocol",
        "from_port",
        "to_port",
        "ip_ranges",
        "sgrule_tags",
        "source_groups",
        "prefix_list_ids",
        "security_rule_ids",
        "vpc_id",
    ),
    "moto.ec2.models:EC2Backend.create_network_interface": (
        "self",
        "subnet",
        "private_ip_address",
        "private_ip_addresses",
        "group_ids",
        "description",
        "tags",
        "delete_on_termination",
        "kwargs",
    ),
    "moto.ec2.models:EC2Backend.create_security_group": (
        "self",
        "name",
        "description",
        "vpc_id",
        "tags",
        "force",
        "is_default",
    ),
    "moto.ec2.models:EC2Backend.get_security_group_from_id": ("self", "group_id"),
    "moto.ec2.models:EC2Backend.get_subnet": ("self", "subnet_id"),
    "moto.fsx.models:Backup": (
        "account_id",
        "region_name",
        "file_system_id",
        "client_request_token",
        "volume_id",
        "tags",
        "backend",
    ),
    "moto.fsx.models:FileSystem": (
        "account_id",
        "region_name",
        "file_system_type",
        "storage_capacity",
        "storage_type",
        "subnet_ids",
        "security_group_ids",
        "tags",
        "kms_key_id",
        "windows_configuration",
        "lustre_configuration",
        "ontap_configuration",
        "open_zfs_configuration",
        "backend",
    ),
    "moto.moto_server.werkzeug_app:DomainDispatcherApplication": ("create_app",),
    "moto.moto_server.werkzeug_app:create_backend_app": ("service",),
    "moto.s3.models:S3Backend.get_object": (
        "self",
        "bucket_name",
        "key_name",
        "version_id",
        "part_number",
        "return_delete_marker",
    ),
    "moto.sagemaker.models:ClusterNode": (
        "region_name",
        "account_id",
        "cluster_name",
        "instance_group_name",
        "instance_type",
        "life_cycle_config",
        "execution_role",
        "node_id",
        "threads_per_core",
    ),
    "moto.ssm.models:SimpleSystemManagerBackend._get_documents": ("self", "name"),
}
"""Functions and classes of moto that ours call, with the names of their parameters."""

HELD: Mapping[str, tuple[str, ...]] = {
    "batch": ("_job_queues", "_compute_environments", "ecs_backend", "ec2_backend"),
    "codebuild": ("create_project",),
    "ec2": ("enis", "groups", "internet_gateways", "network_acls", "vpc_end_points", "all_reservations"),
    "eks": ("clusters",),
    "fsx": ("file_systems", "backups", "tagger"),
    "sagemaker": ("clusters",),
    "ssm": ("_get_documents",),
}
"""The attributes of a service's backend that our code reads."""


def put(owner: Any, name: str, member: Any) -> None:
    """Put a member of ours into one of moto's objects.

    Raises:
        LookupError: the list above does not say so.
    """
    for path, names in _listed():
        if name in names and pkgutil.resolve_name(path) is owner:
            setattr(owner, name, member)
            _done.add((path, name))
            return
    raise LookupError(f"'{name}' of {owner!r} is not in the list of emulator/moto_patches.py")


def put_all(owner: Any, source: type) -> None:
    """Put every method of a class of ours into one of moto's objects.

    Raises:
        LookupError: the list above lacks one.
    """
    for name, member in vars(source).items():
        if callable(member):
            put(owner, name, member)


def done() -> set[tuple[str, str]]:
    """Return what was put into moto in this process, as owner and name."""
    return set(_done)


def digest(owner: str, name: str) -> str:
    """Return the digest of an attribute's source as moto has it."""
    source = inspect.getsource(getattr(pkgutil.resolve_name(owner), name))
    return hashlib.sha256(textwrap.dedent(source).encode()).hexdigest()[:16]


_done: set[tuple[str, str]] = set()


def _listed() -> list[tuple[str, tuple[str, ...]]]:
    return [*((entry.owner, tuple(entry.digests)) for entry in REPLACED), *ADDED.items()]


def main() -> None:
    """Print the digests of the moto that is installed, marking those that differ."""
    for entry in REPLACED:
        for name, expected in entry.digests.items():
            found = digest(entry.owner, name)
            print(f"{entry.owner} {name} {found}{'' if found == expected else ' changed'}")


if __name__ == "__main__":
    main()
