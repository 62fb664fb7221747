"""What a cluster's jobs are launched from: programs and manifests in the data bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.bucket_upload import PYTHON_LEAVINGS, BucketUpload

LAUNCH_PREFIX = "launch"
"""Where in the data bucket the bundles of all clusters lie."""


class LaunchBundle(Construct):
    """Programs and rendered manifests of one cluster, in the data bucket under `launch/<cluster>/`.

    Laid out as `programs` is: one folder a room, beside the modules that all share. From the bucket they appear in a
    Lustre file system that shows it, at the same path below the repository's; without one they are still there to
    fetch. `folders` are the parts of `programs` to ship, relative to it; `excludes` are taken out of them, in the form
    of a .dockerignore. `manifests` are texts by their path in the bundle; they may hold tokens, which are filled in
    when the stack is deployed, after what they name stands. With RemovalPolicy.DESTROY the bundle goes with the stack,
    from a bucket that stays too.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        cluster: str,
        programs: Path,
        folders: Sequence[str],
        manifests: Mapping[str, str],
        excludes: Sequence[str] = (),
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        self.prefix = f"{LAUNCH_PREFIX}/{cluster}"
        leavings = [f"**/{pattern}" for pattern in PYTHON_LEAVINGS]
        shipped = s3_deployment.Source.asset(
            str(programs),
            exclude=["*", *(f"!{folder}" for folder in folders), *excludes, *leavings],
            ignore_mode=cdk.IgnoreMode.DOCKER,
        )
        rendered = [s3_deployment.Source.data(path, text) for path, text in sorted(manifests.items())]
        self.upload = BucketUpload(
            self,
            "Upload",
            bucket=bucket,
            prefix=self.prefix,
            sources=[shipped, *rendered],
            keep=removal_policy is not cdk.RemovalPolicy.DESTROY,
        )
