"""The templates that ParallelCluster makes of a configuration, rendered by its own code without deploying anything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.server import Emulator
from tests.peers.dry_run import require_pcluster

_SECONDS = 180

# Runs in the environment of peers. What the CLI would upload to a bucket is kept here instead.
_PROGRAM = """
import json, sys, yaml
from pcluster.models.s3_bucket import S3Bucket
from pcluster.schemas.cluster_schema import ClusterSchema
from pcluster.templates.cdk_builder import CDKTemplateBuilder

name, source, target = sys.argv[1:]
given = yaml.safe_load(open(source))
config = ClusterSchema(cluster_name=name).load(given)
config.source_config, config.config_version = given, "v"
kept = []

def keep(self, asset_file_content=None, **_):
    kept.append(asset_file_content)
    return {"VersionId": "v"}

S3Bucket.upload_cfn_asset = keep
bucket = S3Bucket(name="bucket", service_name=name, stack_name=name, artifact_directory="parallelcluster/x")
root, _ = CDKTemplateBuilder().build_cluster_template(cluster_config=config, bucket=bucket, stack_name=name)
json.dump([root, *kept], open(target, "w"), default=str)
"""


def templates(
    emulator: Emulator, folder: Path, configuration: dict[str, Any], cluster_name: str
) -> list[dict[str, Any]]:
    """Return the templates of a cluster: its own first, then those of the stacks in it."""
    python = require_pcluster().parent / "python"
    folder.mkdir(parents=True, exist_ok=True)
    source, target = folder / "cluster.yaml", folder / "templates.json"
    source.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-c", _PROGRAM, cluster_name, str(source), str(target)],
        env={
            **emulator.environment(),
            "HOME": str(folder),
            "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode:
        pytest.fail(f"ParallelCluster rendered no templates: {done.stdout}{done.stderr}")
    rendered = json.loads(target.read_text(encoding="utf-8"))
    return [yaml.safe_load(text) if isinstance(text, str) else text for text in rendered]
