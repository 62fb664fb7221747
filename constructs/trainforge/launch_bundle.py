"""The launch bundle of a cluster: programs and manifests of its jobs in the data bucket."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from catalog.storage import launch_prefix
from trainforge.bucket_upload import PYTHON_LEAVINGS, BucketUpload


class LaunchBundle(Construct):
    """Programs and rendered manifests of one cluster, in the data bucket under `launch/<cluster>/`.

    From the bucket they appear in a Lustre file system that shows it, at the same path below the repository's; without
    one they are still there to fetch. `programs` are folders by their path in the bundle: one per workload, and the
    modules that all share; `excludes` are taken out of them, in the form of a .dockerignore. `manifests` are texts by
    their path in the bundle; they may hold tokens, which are filled in at deployment, when the named resources exist.
    With RemovalPolicy.DESTROY the bundle goes with the stack, from a bucket that stays too.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        cluster: str,
        programs: Mapping[str, Path],
        manifests: Mapping[str, str],
        excludes: Sequence[str] = (),
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        self.prefix = launch_prefix(cluster)
        leavings = [f"**/{pattern}" for pattern in PYTHON_LEAVINGS]
        rendered = [s3_deployment.Source.data(path, text) for path, text in sorted(manifests.items())]
        # One asset for all folders; the upload copies it into the cloud assembly at once.
        with tempfile.TemporaryDirectory() as layout:
            for path, folder in programs.items():
                link = Path(layout) / path
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(folder, target_is_directory=True)
            shipped = s3_deployment.Source.asset(
                layout,
                exclude=[*excludes, *leavings],
                ignore_mode=cdk.IgnoreMode.DOCKER,
                follow_symlinks=cdk.SymlinkFollowMode.ALWAYS,
            )
            self.upload = BucketUpload(
                self,
                "Upload",
                bucket=bucket,
                prefix=self.prefix,
                sources=[shipped, *rendered],
                keep=removal_policy is not cdk.RemovalPolicy.DESTROY,
            )
