"""A Kubernetes manifest as text: YAML with scripts as blocks, the same bytes for the same run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
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


_STRING, _MAPPING, _SEQUENCE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))
_REPRESENTER, _RESOLVER = yaml.representer.SafeRepresenter(), yaml.resolver.Resolver()


@lru_cache(maxsize=8192)
def _tag(value: str, implicit: tuple[bool, bool]) -> str:
    """Return the tag of a scalar as YAML reads it. Values recur in each manifest, and PyYAML asks twice for each."""
    return str(_RESOLVER.resolve(yaml.ScalarNode, value, implicit))  # type: ignore[no-untyped-call]


class _Dumper(yaml.CSafeDumper):
    """PyYAML's fast dumper for plain data, with blocks for text of several lines and nothing written by reference."""

    def represent(self, data: object) -> None:
        """Write a document. Equal parts are written twice: a template that points to another is hard to edit."""
        self.serialize(_node(data))

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node."""
        if kind is yaml.ScalarNode:
            return _tag(value, implicit)
        return _MAPPING if kind is yaml.MappingNode else _SEQUENCE

    def descend_resolver(self, *_nodes: object) -> None:
        """Do nothing: no tag depends on the path of a node."""

    def ascend_resolver(self) -> None:
        """Do nothing, for the same reason."""


def _node(data: object) -> yaml.Node:
    """Return the node of plain data; PyYAML's representer takes half of the time of a manifest for it."""
    if isinstance(data, str):
        return yaml.ScalarNode(_STRING, data, style="|" if "\n" in data else None)
    if isinstance(data, Mapping):
        pairs = [(_node(name), _node(value)) for name, value in data.items()]
        return yaml.MappingNode(_MAPPING, pairs, flow_style=False)
    if isinstance(data, list | tuple):
        return yaml.SequenceNode(_SEQUENCE, [_node(part) for part in data], flow_style=False)
    return _REPRESENTER.represent_data(data)


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
