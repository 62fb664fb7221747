"""The dashboards of a deployment as objects of a bucket, from which a Grafana reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.bucket_upload import BucketUpload

_PREFIX = "observability/dashboards"


class DashboardFiles(Construct):
    """Dashboards by name, one object each below `prefix`, which changes with their content.

    `keys` are the objects' keys, and `uids` what Grafana knows the dashboards by.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        dashboards: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__(scope, construct_id)
        texts = {
            f"{name}.json": json.dumps(dashboard, indent=1, sort_keys=True)
            for name, dashboard in sorted(dashboards.items())
        }
        content = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]
        self.bucket = bucket
        self.prefix = f"{_PREFIX}/{content}"
        self.keys = [f"{self.prefix}/{name}" for name in texts]
        self.uids = sorted(str(dashboard["uid"]) for dashboard in dashboards.values())
        self.upload = BucketUpload(
            self,
            "Upload",
            bucket=bucket,
            prefix=self.prefix,
            sources=[s3_deployment.Source.data(name, text) for name, text in texts.items()],
            keep=False,
        )
