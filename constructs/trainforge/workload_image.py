"""Container images, built in the account when a stack is deployed."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from cdklabs.deploy_time_build import ContainerImageBuild
from constructs import Construct, IDependable

from catalog.instance_facts import Architecture
from trainforge.acknowledgement import acknowledge_wildcards
from trainforge.bucket_upload import PYTHON_LEAVINGS
from trainforge.image_builder import harden_build

KEPT_IMAGES = 10
"""Images that a repository keeps: enough to go back a few versions, and large ones cost by the month."""

BASE_ARGUMENT = "BASE"
"""The build argument by which a Dockerfile takes the image that it builds on."""

_PLATFORMS = {
    "x86_64": ecr_assets.Platform.LINUX_AMD64,
    "arm64": ecr_assets.Platform.LINUX_ARM64,
}


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The build context of an image: a folder, the Dockerfile in it, and the files that are included.

    `includes` are folders or files relative to `folder`, all of them when empty; `excludes` are patterns taken
    out of those, in the form of a .dockerignore. Only what takes part is shipped to the build and counts for the
    tag, so that a change elsewhere in the folder builds nothing. `arguments` are the Dockerfile's ARGs.
    """

    folder: Path
    dockerfile: str
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def ignored(self) -> list[str]:
        """The patterns of a .dockerignore that leaves in what takes part."""
        only = ["*", *(f"!{part}" for part in (self.dockerfile, *self.includes))] if self.includes else []
        return [*only, *self.excludes, *(f"**/{pattern}" for pattern in PYTHON_LEAVINGS)]


class WorkloadImage(Construct):
    """A container image in a repository of its own, built by CodeBuild while the stack is deployed.

    The tag is a hash of what goes in: the files, the arguments, the architecture and the base's own tag. So an
    unchanged workload is never built again, an image that runs is never replaced under its tag (tags are immutable),
    and going back to an earlier version finds it built. `base` is an image of the same stack that is built before
    and handed to the Dockerfile as the argument BASE. `image_uri` is known only after the build: whatever uses it
    waits for it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        context: BuildContext,
        architecture: Architecture,
        base: WorkloadImage | None = None,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        destroy = removal_policy is cdk.RemovalPolicy.DESTROY
        self.repository = ecr.Repository(
            self,
            "Repository",
            encryption=ecr.RepositoryEncryption.AES_256,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[
                ecr.LifecycleRule(
                    description="What lost its tag is of no use",
                    tag_status=ecr.TagStatus.UNTAGGED,
                    max_image_age=cdk.Duration.days(1),
                ),
                ecr.LifecycleRule(description="The newest ones", max_image_count=KEPT_IMAGES),
            ],
            removal_policy=removal_policy,
            # CloudFormation cannot delete a repository that holds images.
            empty_on_delete=destroy or None,
        )
        platform = _PLATFORMS[architecture]
        self.tag = _tag(context, architecture, base)
        self._build = ContainerImageBuild(
            self,
            "Build",
            directory=str(context.folder),
            file=context.dockerfile,
            exclude=context.ignored,
            ignore_mode=cdk.IgnoreMode.DOCKER,
            # The words of a shell command, in the library's hands.
            build_args={name: _word(value) for name, value in sorted(context.arguments.items())}
            | ({BASE_ARGUMENT: base.image_uri} if base else {}),
            platform=platform,
            repository=self.repository,
            tag=self.tag,
        )
        harden_build(self._build, architecture)
        self.image_uri: str = self._build.image_uri

    def build_after(self, *before: IDependable) -> None:
        """Build, push and so scan the image after other resources."""
        self._build.node.find_child("Resource").node.add_dependency(*before)

    def grant_pull(self, nodes: iam.Role | iam.ManagedPolicy) -> None:
        """Let nodes pull the image, by their role or by a policy of theirs."""
        self.repository.grant_pull(nodes)
        acknowledge_wildcards(nodes, "ecr:GetAuthorizationToken takes no resource", "*")


def _word(value: str) -> str:
    return value if cdk.Token.is_unresolved(value) else shlex.quote(value)


def _tag(context: BuildContext, architecture: Architecture, base: WorkloadImage | None) -> str:
    """Return the hash of everything that decides what an image holds."""
    files = cdk.FileSystem.fingerprint(
        str(context.folder), exclude=context.ignored, ignore_mode=cdk.IgnoreMode.DOCKER
    )
    parts = [files, context.dockerfile, sorted(context.arguments.items()), architecture, base and base.tag]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
