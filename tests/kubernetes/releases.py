"""The Helm releases of a synthesized stack: what each installs, in the order in which CloudFormation would."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from tests.kubernetes.plane.api import Document
from tests.kubernetes.plane.operators import Operators

OWN_CHART = "Custom::AWSCDK-EKS-HelmChart"
REPOSITORY_CHART = "Custom::TrainforgeRepositoryChart"
MANIFEST = "Custom::AWSCDK-EKS-KubernetesResource"

ASSET_CHARTS = {"kueue": ("kueue",), "kubeflow-trainer": ("jobset", "trainer")}
"""Charts of others whose rendered objects the assets hold, by release: the names of their folders, in order."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release: its name, namespace and values, and the objects where the chart is the project's own.

    `chart` names the chart of another maker; it is empty for one of the project's.
    """

    logical_id: str
    name: str
    namespace: str
    chart: str
    values: Mapping[str, Any] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()


def releases(template: Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> list[Release]:
    """Return the releases of a template in the order of its dependencies.

    `attributes` replaces references by logical id, or by `ID.Attribute`; any other becomes a readable name.
    """
    resources: Mapping[str, Any] = template["Resources"]
    order = TopologicalSorter({name: set(_needs(one, resources)) for name, one in resources.items()})
    found = []
    for logical_id in order.static_order():
        resource = resources.get(logical_id, {})
        if resource.get("Type") in (OWN_CHART, REPOSITORY_CHART):
            found.append(_release(logical_id, resource["Properties"], attributes or {}))
    return found


def manifests(template: Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> list[Document]:
    """Return the objects that a template applies without Helm: the jobs that the stack starts."""
    found = [one for one in template["Resources"].values() if one["Type"] == MANIFEST]
    return [
        document
        for one in found
        for document in json.loads(_resolved(one["Properties"]["Manifest"], attributes or {}))
    ]


def _needs(resource: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[str]:
    explicit = resource.get("DependsOn", ())
    yield from [explicit] if isinstance(explicit, str) else explicit
    yield from (name for name in _references(resource.get("Properties", {})) if name in resources)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "Ref" in value:
            yield str(value["Ref"])
        if "Fn::GetAtt" in value:
            yield str(value["Fn::GetAtt"][0])
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _release(logical_id: str, properties: Mapping[str, Any], attributes: Mapping[str, Any]) -> Release:
    resolved = {name: _resolved(value, attributes) for name, value in properties.items()}
    values = json.loads(resolved.get("Values") or "{}")
    own = "ChartAssetURL" in resolved
    return Release(
        logical_id,
        name=resolved["Release"],
        namespace=resolved["Namespace"],
        chart="" if own else resolved["Chart"],
        values=values,
        documents=tuple(values.get("objects", ())) if own else (),
    )


def _resolved(value: Any, attributes: Mapping[str, Any]) -> Any:
    """Return a value with intrinsic functions replaced by what they would give, or by a readable name."""
    if isinstance(value, list):
        return [_resolved(one, attributes) for one in value]
    if not isinstance(value, Mapping):
        return value
    if "Ref" in value:
        return attributes.get(value["Ref"], _PSEUDO.get(value["Ref"], _readable(value["Ref"])))
    if "Fn::GetAtt" in value:
        name = ".".join(value["Fn::GetAtt"])
        return attributes.get(name, _readable(name))
    if "Fn::GetStackOutput" in value or "Fn::ImportValue" in value:
        return _readable(json.dumps(value))
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return separator.join(str(_resolved(one, attributes)) for one in parts)
    if "Fn::Select" in value:
        index, parts = value["Fn::Select"]
        chosen = _resolved(parts, attributes)
        # A readable name has no parts, as an ARN has.
        parted = isinstance(chosen, list) and int(index) < len(chosen)
        return chosen[int(index)] if parted else _readable(json.dumps(value))
    if "Fn::Split" in value:
        separator, text = value["Fn::Split"]
        return str(_resolved(text, attributes)).split(separator)
    return {name: _resolved(one, attributes) for name, one in value.items()}


_PSEUDO = {
    "AWS::Region": "us-west-2",
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}


def _readable(name: str) -> str:
    """Return a name that Kubernetes takes wherever it takes an AWS identifier."""
    return "-".join("".join(one if one.isalnum() else " " for one in name.lower()).split())[:60].strip("-")


def install(release: Release, operators: Operators) -> list[str]:
    """Install a release and start its programs; return their names.

    A chart of another maker is installed from what the assets hold of it; of device plugins and of HyperPod's chart
    they hold nothing, and nothing happens.
    """
    if not release.chart:
        return operators.install(release.documents, namespace=release.namespace)
    started = []
    for name in ASSET_CHARTS.get(release.name, ()):
        started += operators.install_chart(name, values=release.values)
    return started
