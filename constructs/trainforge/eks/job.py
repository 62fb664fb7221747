"""A job that a stack starts: submitted when the cluster can run it, ended with the stack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
import yaml
from constructs import Construct

from trainforge.eks.cluster import KubernetesCluster

_NAME = 63
"""Characters of a job's name, which becomes a label's value (Kubernetes, "Labels and selectors")."""

_DIGITS = 6


class Job(Construct):
    """A job of a rendered manifest, named by its content: another text is another job.

    Kubernetes changes no running job, so the stack starts the new one and then ends the old one; each keeps its runs
    in a folder of its own. An unchanged job is left alone, whether it still runs or has ended.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cluster: KubernetesCluster,
        manifest: str,
        after: Sequence[Construct] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        document: dict[str, Any] = yaml.safe_load(manifest)
        # Tokens have other names in every synthesis; what they resolve to is the same.
        said = json.dumps(cdk.Stack.of(self).resolve(document), sort_keys=True)
        mark = hashlib.sha256(said.encode()).hexdigest()[:_DIGITS]
        metadata = document["metadata"]
        self.name = f"{metadata['name'][: _NAME - _DIGITS - 1].rstrip('-')}-{mark}"
        metadata["name"] = self.name
        self.manifest = cluster.manifest_applier.manifest(
            f"Manifest{mark}", [document], scope=self, after=after
        )
