"""A pipeline of EC2 Image Builder: its components, recipe, instances, distribution, schedule and life cycle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_imagebuilder as imagebuilder
from aws_cdk import aws_logs as logs
from constructs import Construct

from catalog.image_builder import FAILURES, KEEP_TAG, content_version, image_parameter, resource_name
from catalog.machine_images import MachineImage, ParentImage
from trainforge.images.documents import Document, build_document, test_document


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """Options of a pipeline: the parent's id or `ssm:` and a parameter, its root device, times, images to keep.

    Without a `schedule` only a person starts builds. `instance_type` builds and tests.
    """

    parent: str
    root_device: str
    instance_type: str
    schedule: str | None
    keep: int
    keep_launched_days: int
    scan: bool


@dataclass(frozen=True, slots=True)
class BuilderPlace:
    """The place and the rights of builds: profile, subnet and group of instances, the archive and the policy for it."""

    profile_name: str
    subnet_id: str
    security_group_id: str
    bucket_name: str
    key: str
    archive_policy_arn: str
    lifecycle_role_arn: str
    tags: Mapping[str, str]


def parent_reference(parent: ParentImage | None, given: str | None) -> str:
    """Return the parent as a recipe takes it: the id that is given, else the public parameter.

    Raises:
        LookupError: none is given, and there is no parameter.
    """
    if given:
        return given
    if parent is None or not parent.parameter:
        raise LookupError("the playbook's parent has no public parameter, so its id must be given")
    return f"ssm:{parent.parameter}"


def build_image_configuration(
    image: MachineImage, options: PipelineOptions, place: BuilderPlace, *, component_arn: str, region: str
) -> dict[str, Any]:
    """Return the configuration of `pcluster build-image` from the same facts, for one parent given by its id.

    ParallelCluster makes a role of its own for the instance, which gets the archive's policy (ParallelCluster User
    Guide, "Build image configuration files").
    """
    tags = [{"Key": key, "Value": value} for key, value in place.tags.items()]
    return {
        "Region": region,
        "Build": {
            "InstanceType": options.instance_type,
            "ParentImage": options.parent,
            "SubnetId": place.subnet_id,
            "SecurityGroupIds": [place.security_group_id],
            "Imds": {"ImdsSupport": "v2.0"},
            "Iam": {"AdditionalIamPolicies": [{"Policy": place.archive_policy_arn}]},
            "Components": [{"Type": "arn", "Value": component_arn}],
            "UpdateOsPackages": {"Enabled": False},
            "Tags": tags,
        },
        "Image": {"RootVolume": {"Size": image.volume_gib, "Encrypted": image.encrypted}, "Tags": tags},
    }


class MachineImagePipeline(Construct):
    """The pipeline of one machine image; `parameter_name` is the SSM parameter with the newest one's id.

    Components and the recipe are named by their content's version, because neither changes under one version. Image
    Builder writes the parameter, which it makes at the first build.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: str,
        image_name: str,
        image: MachineImage,
        options: PipelineOptions,
        place: BuilderPlace,
    ) -> None:
        super().__init__(scope, construct_id)
        self.name = resource_name(deployment, image_name)
        self.parameter_name = image_parameter(deployment, image_name)
        self._image, self._options, self._place = image, options, place
        self._title = f"{image.title}, as {image_name} of {deployment}"
        self.build = self._component("Build", "build")
        self.test = self._component("Test", "test")
        self.recipe = self._recipe()
        self.infrastructure = self._infrastructure()
        self.distribution = self._distribution()
        # Image Builder makes a group of this name itself, without expiry, unless it exists.
        log = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/imagebuilder/{self.name}",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.pipeline = self._pipeline()
        self.pipeline.node.add_dependency(log)
        self.pipeline_arn: str = self.pipeline.attr_arn
        self.lifecycle = self._lifecycle()

    def build_image_configuration(self) -> dict[str, Any]:
        """Return the configuration by which ParallelCluster builds this image itself."""
        return build_image_configuration(
            self._image,
            self._options,
            self._place,
            component_arn=self.build.attr_arn,
            region=cdk.Stack.of(self).region,
        )

    def _document(self, part: str, archive: str) -> Document:
        make = build_document if part == "build" else test_document
        return make(self._image, archive=archive)

    def _component(self, construct_id: str, part: str) -> imagebuilder.CfnComponent:
        # The bucket's name is known at deployment only.
        content = json.dumps(self._document(part, self._place.key))
        document = self._document(part, f"s3://{self._place.bucket_name}/{self._place.key}")
        return imagebuilder.CfnComponent(
            self,
            construct_id,
            name=f"{self.name}-{part}",
            version=content_version(content),
            platform="Linux",
            description=document["description"],
            # JSON is YAML.
            data=cdk.Stack.of(self).to_json_string(document),
            tags=dict(self._place.tags),
        )

    def _recipe(self) -> imagebuilder.CfnImageRecipe:
        image, options = self._image, self._options
        recipe = imagebuilder.CfnImageRecipe.EbsInstanceBlockDeviceSpecificationProperty
        device = imagebuilder.CfnImageRecipe.InstanceBlockDeviceMappingProperty(
            device_name=options.root_device,
            ebs=recipe(
                volume_size=image.volume_gib,
                volume_type="gp3",
                encrypted=image.encrypted,
                delete_on_termination=True,
            ),
        )
        of_components = [self.build.version, self.test.version]
        content = json.dumps(
            [of_components, options.parent, options.root_device, image.volume_gib, image.encrypted]
        )
        return imagebuilder.CfnImageRecipe(
            self,
            "Recipe",
            name=self.name,
            version=content_version(content),
            description=self._title,
            parent_image=options.parent,
            components=[
                imagebuilder.CfnImageRecipe.ComponentConfigurationProperty(component_arn=component.attr_arn)
                for component in (self.build, self.test)
            ],
            block_device_mappings=[device],
            tags=dict(self._place.tags),
        )

    def _infrastructure(self) -> imagebuilder.CfnInfrastructureConfiguration:
        place = self._place
        return imagebuilder.CfnInfrastructureConfiguration(
            self,
            "Infrastructure",
            name=self.name,
            description=self._title,
            instance_types=[self._options.instance_type],
            instance_profile_name=place.profile_name,
            subnet_id=place.subnet_id,
            security_group_ids=[place.security_group_id],
            terminate_instance_on_failure=True,
            instance_metadata_options=imagebuilder.CfnInfrastructureConfiguration.InstanceMetadataOptionsProperty(
                http_tokens="required", http_put_response_hop_limit=1
            ),
            resource_tags=dict(place.tags),
            tags=dict(place.tags),
        )

    def _distribution(self) -> imagebuilder.CfnDistributionConfiguration:
        configuration = imagebuilder.CfnDistributionConfiguration(
            self,
            "Distribution",
            name=self.name,
            description=self._title,
            distributions=[],
            tags=dict(self._place.tags),
        )
        configuration.add_property_override(
            "Distributions",
            [
                {
                    "Region": cdk.Stack.of(self).region,
                    "AmiDistributionConfiguration": {
                        "Name": f"{self.name}-{{{{ imagebuilder:buildDate }}}}",
                        "AmiTags": {**self._place.tags, "trainforge:image": self._image.name},
                    },
                    "SsmParameterConfigurations": [
                        {"ParameterName": self.parameter_name, "DataType": "aws:ec2:image"}
                    ],
                }
            ],
        )
        return configuration

    def _pipeline(self) -> imagebuilder.CfnImagePipeline:
        spelled, options = imagebuilder.CfnImagePipeline, self._options
        schedule = None
        if options.schedule:
            schedule = spelled.ScheduleProperty(
                schedule_expression=options.schedule,
                # Updates of the distribution are no dependency that Image Builder sees.
                pipeline_execution_start_condition="EXPRESSION_MATCH_ONLY",
                auto_disable_policy=spelled.AutoDisablePolicyProperty(failure_count=FAILURES),
            )
        return spelled(
            self,
            "Pipeline",
            name=self.name,
            description=self._title,
            image_recipe_arn=self.recipe.attr_arn,
            infrastructure_configuration_arn=self.infrastructure.attr_arn,
            distribution_configuration_arn=self.distribution.attr_arn,
            enhanced_image_metadata_enabled=True,
            image_tests_configuration=spelled.ImageTestsConfigurationProperty(image_tests_enabled=True),
            image_scanning_configuration=spelled.ImageScanningConfigurationProperty(
                image_scanning_enabled=options.scan
            ),
            schedule=schedule,
            status="ENABLED",
            tags=dict(self._place.tags),
        )

    def _lifecycle(self) -> imagebuilder.CfnLifecyclePolicy:
        options = self._options
        policy = imagebuilder.CfnLifecyclePolicy(
            self,
            "Lifecycle",
            name=self.name,
            description=f"Keeps the newest {options.keep} images",
            execution_role=self._place.lifecycle_role_arn,
            resource_type="AMI_IMAGE",
            policy_details=[],
            resource_selection=imagebuilder.CfnLifecyclePolicy.ResourceSelectionProperty(
                recipes=[
                    imagebuilder.CfnLifecyclePolicy.RecipeSelectionProperty(
                        name=self.name, semantic_version="x.x.x"
                    )
                ]
            ),
            status="ENABLED",
            tags=dict(self._place.tags),
        )
        policy.add_property_override(
            "PolicyDetails",
            [
                {
                    "Action": {"Type": "DELETE", "IncludeResources": {"Amis": True, "Snapshots": True}},
                    "Filter": {"Type": "COUNT", "Value": options.keep},
                    "ExclusionRules": {
                        "Amis": {
                            "LastLaunched": {"Value": options.keep_launched_days, "Unit": "DAYS"},
                            "TagMap": dict([KEEP_TAG]),
                        }
                    },
                }
            ],
        )
        policy.node.add_dependency(self.recipe)
        return policy
