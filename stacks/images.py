"""The stack of machine images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_deployment as s3_deployment
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from catalog.cluster_kinds import PARALLELCLUSTER
from catalog.image_builder import build_image_parameter, monthly_use, resource_name
from catalog.machine_images import GIVEN_PARENTS, IMAGES_BY_NAME
from machine_images.archive import ARCHIVE, archive_members, packed
from settings.deployment import Settings
from settings.sections.images import MachineImageSettings
from stacks.network import NetworkStack
from stacks.storage import StorageStack
from trainforge.bucket_upload import BucketUpload
from trainforge.construct_ids import pascal
from trainforge.images.builder import ArchiveAccess, BuilderRole, BuilderSecurityGroup, LifecycleRole
from trainforge.images.pipeline import BuilderPlace, MachineImagePipeline, PipelineOptions, parent_reference
from trainforge.notifications import Notifications
from trainforge.vulnerabilities import notify_of_machine_image_vulnerabilities

_PREFIX = "machine-images"


class ImageStack(cdk.Stack):
    """Pipelines that build the deployment's machine images, and notify people of failures and of vulnerabilities.

    `pipelines` has them by the image's name. Clusters read an image's id from the SSM parameter that its pipeline
    writes, by its name.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        network: NetworkStack,
        storage: StorageStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            stack_name=f"{settings.name}-images",
            description=f"trainforge {settings.name}: machine images",
        )
        self._settings, self._network, self._storage = settings, network, storage
        self._common = resource_name(settings.name, "")
        self.notifications = Notifications(self, "Notifications", emails=settings.notifications.emails)
        place = self._place()
        self.pipelines = {
            name: self._pipeline(name, section, place) for name, section in settings.images.items()
        }
        self._notify()
        cdk.CfnOutput(
            self,
            "NotificationTopic",
            value=self.notifications.topic.topic_arn,
            description="Topic of failed builds and of vulnerabilities",
        )

    def _place(self) -> BuilderPlace:
        bucket = self._storage.scripts_bucket
        folder = Path(cdk.FileSystem.mkdtemp("trainforge-image-"))
        content = packed(archive_members())
        (folder / ARCHIVE).write_bytes(content)
        prefix = f"{_PREFIX}/{hashlib.sha256(content).hexdigest()[:12]}"
        upload = BucketUpload(
            self,
            "Playbooks",
            bucket=bucket,
            prefix=prefix,
            sources=[s3_deployment.Source.asset(str(folder))],
        )
        archive = ArchiveAccess(self, "ArchiveAccess", bucket=bucket, prefix=prefix)
        role = BuilderRole(self, "BuilderRole", name=self._common, archive=archive)
        profile = iam.CfnInstanceProfile(self, "BuilderProfile", roles=[role.role_name])
        profile.node.add_dependency(role, upload)
        self._lifecycle_role = LifecycleRole(self, "LifecycleRole", name=self._common)
        return BuilderPlace(
            profile_name=profile.ref,
            subnet_id=self._network.private_subnet(self._settings.availability_zones[0]).subnet_id,
            security_group_id=BuilderSecurityGroup(
                self, "BuilderSecurityGroup", vpc=self._network.vpc
            ).security_group_id,
            bucket_name=bucket.bucket_name,
            key=f"{prefix}/{ARCHIVE}",
            archive_policy_arn=archive.managed_policy_arn,
            lifecycle_role_arn=self._lifecycle_role.role_arn,
            tags=self._settings.resource_tags,
        )

    def _pipeline(
        self, name: str, section: MachineImageSettings, place: BuilderPlace
    ) -> MachineImagePipeline:
        image = IMAGES_BY_NAME[section.playbook]
        parent = image.parents.get(section.system)
        instance_type = section.instance_type or image.instance_type
        pipeline = MachineImagePipeline(
            self,
            pascal(name),
            deployment=self._settings.name,
            image_name=name,
            image=image,
            options=PipelineOptions(
                parent=parent_reference(parent, section.parent),
                root_device=(parent or GIVEN_PARENTS[section.system]).root_device,
                instance_type=instance_type,
                schedule=section.schedule,
                keep=section.keep,
                keep_launched_days=section.keep_launched_days,
                scan=section.scan,
            ),
            place=place,
        )
        if PARALLELCLUSTER.name in image.clusters:
            ssm.StringParameter(
                self,
                f"{pascal(name)}BuildImage",
                parameter_name=build_image_parameter(self._settings.name, name),
                string_value=self.to_json_string(pipeline.build_image_configuration()),
                description=f"Configuration of 'pcluster build-image' for the image '{name}'",
            )
        # The role's policy is a resource of its own.
        pipeline.lifecycle.node.add_dependency(self._lifecycle_role)
        cdk.CfnOutput(
            self,
            f"{pascal(name)}Pipeline",
            value=pipeline.pipeline_arn,
            description=f"Pipeline of the image '{name}', for 'aws imagebuilder start-image-pipeline-execution'",
        )
        cdk.CfnOutput(
            self,
            f"{pascal(name)}MonthlyUse",
            value=monthly_use(
                schedule=section.schedule,
                instance_type=instance_type,
                volume_gib=image.volume_gib,
                keep=section.keep,
                scan=section.scan,
            ),
            description=f"Use of the pipeline '{name}' in a month, to multiply with prices (docs/machine-images.md)",
        )
        return pipeline

    def _notify(self) -> None:
        arns = [pipeline.pipeline_arn for pipeline in self.pipelines.values()]
        images = self.format_arn(service="imagebuilder", resource="image", resource_name=self._common)
        self._on(
            "BuildsFailed",
            "Image State Change",
            events.Match.prefix(images),
            {"state": {"status": ["FAILED"]}},
        )
        least = self._settings.notifications.vulnerabilities
        if least:
            notify_of_machine_image_vulnerabilities(self.notifications, arns, least=least)
        self._on("PipelinesDisabled", "Image Pipeline Automatically Disabled", arns, {})

    def _on(self, rule_id: str, event: str, resources: list[str], detail: Mapping[str, Any]) -> None:
        """Send an event of Image Builder to the topic (Image Builder User Guide, "Amazon EventBridge integration")."""
        self.notifications.on(
            rule_id,
            description=f"{event}: machine images of {self._settings.name}",
            source="aws.imagebuilder",
            detail_types=[f"EC2 Image Builder {event}"],
            detail=detail,
            resources=resources,
        )
