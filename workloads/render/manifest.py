"""A Kubernetes manifest as text: YAML with scripts as blocks, the same bytes for the same run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from catalog.cluster_info import ClusterInfo
from workloads.spec import Run

MANAGED_BY = "app.kubernetes.io/managed-by"
"""The label of everything that we submit: `kubectl get pods -l app.kubernetes.io/managed-by=trainforge` finds it."""

INSTANCE = "app.kubernetes.io/instance"
"""The label with the name of the run."""

RUN_ID = "RUN_ID"
"""The variable that names the run in its pods: its id, or the job's name where it has none.

So a job that is created again under its name resumes where it stopped."""


_EXPANDED = re.compile(r"\$\$|\$\([A-Za-z_.-][A-Za-z0-9_.-]*\)")


class _Dumper(yaml.CSafeDumper):
    """PyYAML's fast dumper, with blocks for text of several lines and nothing written by reference."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write equal parts twice: a template that points to another is hard to read and to edit."""
        return True


def _text(dumper: yaml.CSafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _text)


def manifest(document: Mapping[str, Any], header: str = "") -> str:
    """Return a document as YAML, with `header` as a comment on top."""
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    return comment + yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, width=1000)


def labels(run: Run, info: ClusterInfo) -> dict[str, str]:
    """Return the labels of a job and its pods, by the names that Kubernetes recommends."""
    return {
        "app.kubernetes.io/name": run.workload.name,
        INSTANCE: run.name,
        "app.kubernetes.io/part-of": info.deployment,
        MANAGED_BY: "trainforge",
    }


def metadata(run: Run, info: ClusterInfo) -> dict[str, Any]:
    """Return the metadata of a job."""
    return {"name": run.name, "namespace": info.namespace, "labels": labels(run, info)}


def verbatim(script: str) -> str:
    """Return a script as a container's command must spell it, so that Kubernetes hands it on unchanged.

    In commands Kubernetes replaces `$(NAME)` by a variable and `$$` by `$`. A script with neither stays as a
    person would write it.
    """
    if not _EXPANDED.search(script):
        return script
    return re.sub(r"\$(?=[$(])", "$$", script)
