"""The custom actions of a cluster: one file in the scripts bucket, and how each kind of node runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.bucket_upload import BucketUpload
from trainforge.parallelcluster.actions.archive import packed, revision
from trainforge.parallelcluster.node_actions import CustomAction, NodeActions

PREFIX = "parallelcluster/actions"
FILE = "set-up-node"


class NodeSetup(Construct):
    """The set-up of nodes, shipped as a file of this project: nothing that runs on them comes from elsewhere.

    The file keeps its place: ParallelCluster takes no other script for a head node that exists, while `revision`, an
    argument, makes a change of the content reach it. The nodes' role must be allowed to read the bucket. It goes
    with the stack, whose nodes alone run it. `certificate` is the URL of the certificate of a directory's authority,
    which nodes fetch before anything else; known at deployment only, it is an argument.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        configuration: Mapping[str, Any],
        certificate: str = "",
    ) -> None:
        super().__init__(scope, construct_id)
        content = packed(configuration)
        folder = Path(cdk.FileSystem.mkdtemp("trainforge-actions-"))
        (folder / FILE).write_bytes(content)
        self.upload = BucketUpload(
            self,
            "Upload",
            bucket=bucket,
            prefix=PREFIX,
            sources=[s3_deployment.Source.asset(str(folder))],
            keep=False,
        )
        script = bucket.s3_url_for_object(f"{PREFIX}/{FILE}")
        self.actions = NodeActions(
            start=(CustomAction(script, ("start", certificate)),) if certificate else (),
            configured=(CustomAction(script, ("configured",)),),
            revision=revision(content),
        )
