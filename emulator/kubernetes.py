"""The work of the CDK's kubectl provider in a Kubernetes cluster: releases and manifests are checked, and installed.

What Kubernetes and Helm would refuse by the order of things is refused here: an object of a kind that nothing has
defined yet, a namespace that is not there, a release that another owns. Where the emulator has control planes, objects
go to that of the cluster; without, nothing runs.
"""

from __future__ import annotations

import io
import json
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import control_planes
from emulator.control_planes import ControlPlaneError, Release
from emulator.resources.resource import Kind, Properties, Resource

BUILT_IN = frozenset(
    {
        "v1",
        "admissionregistration.k8s.io/v1",
        "apiextensions.k8s.io/v1",
        "apps/v1",
        "batch/v1",
        "networking.k8s.io/v1",
        "rbac.authorization.k8s.io/v1",
        "scheduling.k8s.io/v1",
        "storage.k8s.io/v1",
    }
)
"""Groups and versions that a cluster has by itself, of those that we use."""

_definitions: dict[str, tuple[str, ...]] | None = None
"""Names of the custom resource definitions that releases of others and EKS add-ons bring, or None: unknown."""


def load_definitions(file: Path) -> None:
    """Take the definitions by the release or add-on that brings them, of a JSON file.

    Without, releases of others and add-ons may bring any, and objects of every kind are taken.
    """
    global _definitions
    given: Mapping[str, Iterable[str]] = json.loads(file.read_text(encoding="utf-8"))
    _definitions = {owner: tuple(names) for owner, names in given.items()}


def _definitions_of(owner: str) -> tuple[str, ...]:
    """Return the definitions that a release of others or an add-on brings."""
    return (_definitions or {}).get(owner, ())


@dataclass
class Cluster:
    """The objects on one cluster: owners of releases, custom resource definitions and namespaces."""

    releases: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    namespaces: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys(("default", "kube-system"), "EKS")
    )


CLUSTERS: dict[tuple[str, str, str], Cluster] = {}


class AppliedObjects(Resource):
    """A resource that the CDK's kubectl provider applies; subclasses say which."""

    kind = Kind.ANSWERED

    @abstractmethod
    def release(self, properties: Properties) -> Release:
        """Return what properties ask to be installed."""

    @abstractmethod
    def check(self) -> None:
        """Check what is asked for, note what it brings, and set `physical_id`."""

    def create(self) -> None:
        """Check it and install it."""
        self.check()
        self._install(None)

    @property
    def cluster(self) -> Cluster:
        """The objects on the cluster, which must exist."""
        name = str(self.properties["ClusterName"])
        self.aws("eks").describe_cluster(name=name)
        return CLUSTERS.setdefault((self.context.account, self.context.region, name), Cluster())

    def update(self, previous: Properties) -> None:
        """Replace the previous objects by the present ones."""
        identifier = self.physical_id
        self._forget()
        self.check()
        self.physical_id = identifier
        self._install(self.release(previous))

    def delete(self) -> None:
        """Take it away."""
        self._forget()
        planes = control_planes.configured()
        if planes is not None:
            self._ask(planes.uninstall, self.release(self.properties))

    def _install(self, previous: Release | None) -> None:
        planes = control_planes.configured()
        if planes is not None:
            self._ask(planes.install, self.release(self.properties), previous)

    def _ask(self, method: Callable[..., None], *given: Any) -> None:
        cluster = self.aws("eks").describe_cluster(name=self.properties["ClusterName"])["cluster"]
        try:
            method(cluster["arn"], *given)
        except ControlPlaneError as error:
            self.fail(str(error))

    def _forget(self) -> None:
        cluster = self.cluster
        for owned in (cluster.releases, cluster.definitions, cluster.namespaces):
            for name in [name for name, owner in owned.items() if owner == self.logical_id]:
                del owned[name]

    def apply(self, documents: Iterable[dict[str, Any]]) -> None:
        """Look at objects in the order in which Helm installs kinds; kubectl's is the file's own."""
        cluster = self.cluster
        for document in documents:
            self._check(cluster, document)
            name = document["metadata"]["name"]
            if document["kind"] == "Namespace":
                cluster.namespaces.setdefault(name, self.logical_id)
            elif document["kind"] == "CustomResourceDefinition":
                self.define(cluster, name)

    def define(self, cluster: Cluster, name: str) -> None:
        """Take a definition; another's fails, as Helm does."""
        owner = cluster.definitions.setdefault(name, self.logical_id)
        if owner != self.logical_id:
            self.fail(f"CustomResourceDefinition '{name}' exists and cannot be imported: '{owner}' owns it")

    def _defined(self, cluster: Cluster) -> set[str]:
        """Return the custom resource definitions of releases and of the cluster's EKS add-ons."""
        name = str(self.properties["ClusterName"])
        add_ons = self.aws("eks").list_addons(clusterName=name)["addons"]
        return {*cluster.definitions, *(one for add_on in add_ons for one in _definitions_of(add_on))}

    def _check(self, cluster: Cluster, document: dict[str, Any]) -> None:
        api, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
        known = api in BUILT_IN or _definitions is None
        if not known and not any(
            _plural(definition) == kind.lower() and definition.partition(".")[2] == api.partition("/")[0]
            for definition in self._defined(cluster)
        ):
            self.fail(f'no matches for kind "{kind}" in version "{api}": nothing has defined it yet')
        if metadata.get("namespace", "default") not in cluster.namespaces:
            self.fail(f'namespaces "{metadata["namespace"]}" not found')


class HelmChart(AppliedObjects):
    """A Helm release: of a chart that is an asset (Custom::AWSCDK-EKS-HelmChart), or of one in a chart repository.

    A chart in a repository brings the definitions that `load_definitions` took for its release.
    """

    def release(self, properties: Properties) -> Release:
        """Return the release: a chart that is an asset has its objects as a value."""
        values = json.loads(properties.get("Values") or "{}")
        own = "ChartAssetURL" in properties
        return Release(
            name=str(properties["Release"]),
            namespace=str(properties["Namespace"]),
            chart="" if own else str(properties["Chart"]),
            values=values,
            documents=tuple(values.get("objects", ())) if own else (),
        )

    def check(self) -> None:
        """Check the chart and its values, and note what the release brings."""
        given, cluster = self.properties, self.cluster
        release = str(given["Release"])
        if cluster.releases.setdefault(release, self.logical_id) != self.logical_id:
            self.fail(f"release '{release}' is that of '{cluster.releases[release]}'")
        values = json.loads(given.get("Values") or "{}")
        if "ChartAssetURL" not in given:
            cluster.namespaces.setdefault(str(given["Namespace"]), self.logical_id)
        elif given["Namespace"] not in cluster.namespaces:
            self.fail(f'namespaces "{given["Namespace"]}" not found')
        if "ChartAssetURL" in given:
            self._look(str(given["ChartAssetURL"]))
            self.apply(_in_order(values.get("objects", [])))
        elif not given.get("Version"):
            self.fail(f"chart '{given['Chart']}' has no version: every deployment could bring another")
        else:
            for definition in _definitions_of(release):
                self.define(cluster, definition)
        self.physical_id = release

    def _look(self, url: str) -> None:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        body = self.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        names = zipfile.ZipFile(io.BytesIO(body)).namelist()
        if "Chart.yaml" not in names:
            self.fail(f"Chart.yaml file is missing in '{url}'")


class KubernetesManifest(AppliedObjects):
    """Custom::AWSCDK-EKS-KubernetesResource."""

    def release(self, properties: Properties) -> Release:
        """Return the objects under the name of the resource; each names its namespace or is in the default one."""
        return Release(self.logical_id, "default", documents=tuple(json.loads(properties["Manifest"])))

    def check(self) -> None:
        """Look at every document."""
        self.apply(json.loads(self.properties["Manifest"]))
        self.physical_id = self.logical_id


def _plural(definition: str) -> str:
    """Return a definition's kind in small letters, of its plural name."""
    plural = definition.partition(".")[0]
    return f"{plural[:-3]}y" if plural.endswith("ies") else plural[:-1]


def _in_order(documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    first = ("Namespace", "CustomResourceDefinition")
    yield from sorted(
        documents,
        key=lambda document: first.index(document["kind"]) if document["kind"] in first else len(first),
    )
