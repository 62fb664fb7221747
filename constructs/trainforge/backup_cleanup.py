"""Removal of the final backups that FSx takes of an OpenZFS file system when it is deleted."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.handler_function import handler_function, handler_role

TAG_KEY = "trainforge:backup-owner"


class BackupCleanup(Construct):
    """Deletes final backups of file systems after those are gone, so that an ephemeral stack leaves nothing.

    FSx copies a file system's tags to its backups; this one owns those that carry its tag.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self._tag_value = cdk.Names.unique_id(self)
        role = handler_role(self)
        stack = cdk.Stack.of(self)
        backups = stack.format_arn(service="fsx", resource="backup", resource_name="*")
        role.add_to_policy(
            iam.PolicyStatement(actions=["fsx:DescribeBackups", "fsx:DescribeFileSystems"], resources=["*"])
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["fsx:DeleteBackup"],
                resources=[backups],
                conditions={"StringEquals": {f"aws:ResourceTag/{TAG_KEY}": self._tag_value}},
            )
        )
        function = handler_function(
            self,
            name="backup_cleanup",
            description="Deletes final backups of deleted FSx file systems",
            role=role,
            timeout_minutes=15,
        )
        self._resource = cdk.CustomResource(
            self,
            "Resource",
            resource_type="Custom::TrainforgeBackupCleanup",
            service_token=function.function_arn,
            service_timeout=cdk.Duration.minutes(16),
            properties={"TagKey": TAG_KEY, "TagValue": self._tag_value},
        )
        # The role's policy must outlive the resource, or its last call is refused.
        self._resource.node.add_dependency(role)
        acknowledge_wildcards(
            self,
            "the describe actions take no resource; ids of backups are made later, and only those with this "
            "construct's tag may be deleted",
            "*",
            backups,
        )

    def track(self, file_system: IConstruct) -> None:
        """Take charge of the backups of a file system that copies its tags to backups."""
        cdk.Tags.of(file_system).add(TAG_KEY, self._tag_value)
        file_system.node.add_dependency(self._resource)
