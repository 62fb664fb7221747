"""The collector of metrics on hosts of AWS Batch: its program in a bucket, and the part of user data that starts it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.acknowledgement import acknowledge_wildcards, spelled_arn
from trainforge.bucket_upload import PYTHON_LEAVINGS, BucketUpload
from trainforge.node_program import BATCH, staged

_CONFIGURATION = "metrics.json"
_PREFIX = "batch/metrics"

_SCRIPT = """\
#!/bin/bash
# A host without metrics takes jobs all the same: a failure here is a line of the log.
command -v aws >/dev/null || dnf install --assumeyes --quiet awscli-2
mkdir -p /opt/trainforge/metrics
aws s3 cp --recursive --only-show-errors '{url}' /opt/trainforge/metrics &&
  cd /opt/trainforge/metrics && python3 -u collect.py || echo 'trainforge: this host sends no metrics' >&2
"""


class HostMetrics(Construct):
    """The program of hosts' metrics below a prefix of its content; `script` is what a host runs to start it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        configuration: Mapping[str, Any],
    ) -> None:
        super().__init__(scope, construct_id)
        text = json.dumps(configuration, indent=1, sort_keys=True)
        folder = staged(BATCH)
        digest = hashlib.sha256(text.encode())
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
        self._bucket, self._prefix = bucket, f"{_PREFIX}/{digest.hexdigest()[:12]}"
        self.upload = BucketUpload(
            self,
            "Upload",
            bucket=bucket,
            prefix=self._prefix,
            sources=[
                s3_deployment.Source.asset(str(folder), exclude=list(PYTHON_LEAVINGS)),
                s3_deployment.Source.data(_CONFIGURATION, text),
            ],
        )
        self.script = _SCRIPT.format(url=f"s3://{bucket.bucket_name}/{self._prefix}/")

    def grant_read(self, role: iam.Role, *more_prefixes: str) -> None:
        """Let hosts read the program, and what is below `more_prefixes` of the bucket."""
        prefixes = [self._prefix, *more_prefixes]
        objects = [self._bucket.arn_for_objects(f"{prefix}/*") for prefix in prefixes]
        role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=objects))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[self._bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": [f"{prefix}/*" for prefix in prefixes]}},
            )
        )
        acknowledge_wildcards(
            role,
            "the program and the exporters, whose files have names of their own",
            *(f"{spelled_arn(self._bucket, role)}/{prefix}/*" for prefix in prefixes),
        )
