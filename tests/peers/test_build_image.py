"""The configuration of `pcluster build-image`: ParallelCluster's own schema takes it."""

from __future__ import annotations

import json
import subprocess

from catalog.machine_images import IMAGES_BY_NAME
from tests.peers.dry_run import require_pcluster
from trainforge.images.pipeline import BuilderPlace, PipelineOptions, build_image_configuration

_LOAD = (
    "import json, sys; from pcluster.schemas.imagebuilder_schema import ImageBuilderSchema; "
    "print(ImageBuilderSchema().load(json.load(sys.stdin)).build.components[0].value)"
)


def test_parallelcluster_reads_the_configuration() -> None:
    python = require_pcluster().with_name("python")
    arn = "arn:aws:imagebuilder:us-west-2:111122223333:component/own/1.0.1/1"
    configuration = build_image_configuration(
        IMAGES_BY_NAME["parallelcluster-gpu"],
        PipelineOptions(
            parent="ami-0123456789abcdef0",
            root_device="/dev/sda1",
            instance_type="c6i.4xlarge",
            schedule=None,
            keep=3,
            keep_launched_days=90,
            scan=False,
        ),
        BuilderPlace(
            profile_name="own",
            subnet_id="subnet-0123456789abcdef0",
            security_group_id="sg-0123456789abcdef0",
            bucket_name="own",
            key="image.tar.gz",
            archive_policy_arn="arn:aws:iam::111122223333:policy/own",
            lifecycle_role_arn="arn:aws:iam::111122223333:role/own",
            tags={"team": "ml"},
        ),
        component_arn=arn,
        region="us-west-2",
    )
    done = subprocess.run(
        [str(python), "-c", _LOAD],
        input=json.dumps(configuration),
        env={"AWS_DEFAULT_REGION": "us-west-2", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, arn), done.stderr
