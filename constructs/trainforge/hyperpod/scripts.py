"""Scripts that HyperPod runs on every node, shipped in the scripts bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from trainforge.bucket_upload import PYTHON_LEAVINGS, BucketUpload
from trainforge.hyperpod.groups import LifecycleHook
from trainforge.node_program import HYPERPOD, staged
from trainforge.programs import NODES

_NODE_SETUP_ENTRY = "on_init_complete.sh"
_CONFIGURATION = "node_setup.json"
_DISK = NODES / "hyperpod" / "disk"
_DISK_ENTRY = "on_create.sh"
_LUSTRE_OVER_EFA = "lustre-over-efa"
_EXCLUDED = list(PYTHON_LEAVINGS)


class NodeScripts(Construct):
    """A folder of scripts in the scripts bucket, and the hook by which HyperPod runs its entry.

    The bucket's name begins with `sagemaker-`, as HyperPod's SourceS3Uri demands; the nodes' role must be
    allowed to read it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        prefix: str,
        sources: list[s3_deployment.ISource],
        event: str,
        entry: str,
    ) -> None:
        super().__init__(scope, construct_id)
        # The bucket goes or stays as a whole, by its own removal policy.
        self.upload = BucketUpload(self, "Upload", bucket=bucket, prefix=prefix, sources=sources)
        self.hook = LifecycleHook(event=event, source=f"s3://{bucket.bucket_name}/{prefix}", script=entry)

    @classmethod
    def node_setup(
        cls,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        configuration: Mapping[str, Any],
    ) -> NodeScripts:
        """Upload the node set-up of this project, which runs after HyperPod's own initialisation of a node."""
        text = json.dumps(configuration, indent=2, sort_keys=True)
        program = staged(HYPERPOD)
        return cls(
            scope,
            construct_id,
            bucket=bucket,
            prefix=f"hyperpod/node-setup/{_fingerprint(program, _settled(scope, text))}",
            sources=[
                s3_deployment.Source.asset(str(program), exclude=_EXCLUDED),
                s3_deployment.Source.data(_CONFIGURATION, text),
            ],
            event="OnInitComplete",
            entry=_NODE_SETUP_ENTRY,
        )

    @classmethod
    def disk(
        cls, scope: Construct, construct_id: str, *, bucket: s3.IBucket, lustre_over_efa: bool = False
    ) -> NodeScripts:
        """Ship the script that points containerd and the kubelet of an EKS cluster's nodes at the data volume.

        With `lustre_over_efa` it sets up the nodes' Lustre client for EFA too.
        """
        sources = [s3_deployment.Source.asset(str(_DISK), exclude=_EXCLUDED)]
        if lustre_over_efa:
            sources.append(s3_deployment.Source.data(_LUSTRE_OVER_EFA, "read by on_create.sh\n"))
        marked = _LUSTRE_OVER_EFA if lustre_over_efa else ""
        return cls(
            scope,
            construct_id,
            bucket=bucket,
            prefix=f"hyperpod/disk/{_fingerprint(_DISK, marked)}",
            sources=sources,
            event="OnCreate",
            entry=_DISK_ENTRY,
        )

    @classmethod
    def lifecycle(
        cls,
        scope: Construct,
        construct_id: str,
        *,
        bucket: s3.IBucket,
        directory: Path,
        entry: str,
    ) -> NodeScripts:
        """Ship a user's own lifecycle scripts, which set a node up in place of HyperPod's initialisation."""
        return cls(
            scope,
            construct_id,
            bucket=bucket,
            prefix=f"hyperpod/lifecycle/{_fingerprint(directory)}",
            sources=[s3_deployment.Source.asset(str(directory), exclude=_EXCLUDED)],
            event="OnCreate",
            entry=entry,
        )


def _settled(scope: Construct, text: str) -> str:
    """Return text with each token resolved: the CDK renumbers tokens whenever it runs."""
    resolved = cdk.Stack.of(scope).resolve(text)
    return resolved if isinstance(resolved, str) else json.dumps(resolved, sort_keys=True)


def _fingerprint(directory: Path, extra: str = "") -> str:
    """Return a short hash of a folder's content.

    In the prefix it makes a change of scripts a change of the cluster's SourceS3Uri. Users report that nodes
    are given new scripts only then; it also keeps those of the last deployment for a rollback.
    """
    content = cdk.FileSystem.fingerprint(str(directory), exclude=_EXCLUDED)
    return hashlib.sha256(f"{content}{extra}".encode()).hexdigest()[:12]
