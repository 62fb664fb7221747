"""The deployment's own exporters as a folder of a bucket, from which nodes copy them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.bucket_upload import BucketUpload
from trainforge.exporters import ARCHIVE, UNITS, archive

_PREFIX = "observability/exporters"
DCGM_COUNTERS = "dcgm-counters.csv"
"""The file that dcgm-exporter reads: a field, its type and its help on each line."""


class ExporterFiles(Construct):
    """The file of the exporters, their units and the counters of DCGM, below `prefix`, which changes with them."""

    def __init__(
        self, scope: Construct, construct_id: str, *, bucket: s3.IBucket, dcgm_counters: str
    ) -> None:
        super().__init__(scope, construct_id)
        folder = Path(cdk.FileSystem.mkdtemp("trainforge-exporters-"))
        content = archive()
        (folder / ARCHIVE).write_bytes(content)
        shutil.copytree(UNITS, folder / "units")
        (folder / DCGM_COUNTERS).write_text(dcgm_counters, encoding="utf-8")
        units = b"".join(path.read_bytes() for path in sorted(UNITS.glob("*.service")))
        self.prefix = f"{_PREFIX}/{hashlib.sha256(content + units + dcgm_counters.encode()).hexdigest()[:12]}"
        self.url = f"s3://{bucket.bucket_name}/{self.prefix}/"
        # Kept: nodes of an earlier deployment may still copy from it; the bucket goes as a whole.
        BucketUpload(
            self,
            "Upload",
            bucket=bucket,
            prefix=self.prefix,
            sources=[s3_deployment.Source.asset(str(folder))],
        )
