"""Control planes of the emulated EKS clusters (emulator/control_planes.py): releases install what they name.

The emulator makes `Clusters` by its name and calls it from many threads; all work is done by one thread of its own, for
the kernel ends a program with the thread that started it.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from emulator.control_planes import Address, ControlPlaneError, Grant, NodeGroup, Release
from tests.kubernetes.bare_nodes import BareNodes
from tests.kubernetes.plane.api import Document, Refused
from tests.kubernetes.plane.assets import VARIABLE, Assets, AssetsError
from tests.kubernetes.plane.authority import LOCK
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.plane.operators import MACHINE_FOLDERS, Operators
from tests.kubernetes.plane.processes import ProgramError
from tests.kubernetes.plane.shared_use import SharedUse
from tests.kubernetes.process_nodes import ProcessNodes
from tests.kubernetes.releases import ASSET_CHARTS

_EXPECTED = (AssetsError, ProgramError, Refused, TimeoutError, OSError, requests.RequestException)
_GONE_SECONDS = 120.0
_LABEL = "trainforge/emulator-access"
"""Marks the bindings that stand for access policies."""

_RBAC = "rbac.authorization.k8s.io"
_VIEW = ("system:aggregate-to-view",)
_EDIT = ("system:aggregate-to-edit", *_VIEW)
_ROLES: Mapping[str, Sequence[str]] = {
    "AmazonEKSClusterAdminPolicy": ("cluster-admin",),
    "AmazonEKSAdminPolicy": ("system:aggregate-to-admin", *_EDIT),
    "AmazonEKSEditPolicy": _EDIT,
    "AmazonEKSViewPolicy": _VIEW,
}
"""Roles of Kubernetes that have the rights of EKS's access policies: those that hold Kubernetes' own kinds alone, for
the policies know no kinds of operators (EKS User Guide, "Review access policy permissions")."""

_OF_PROGRAMS = (
    "ConfigMap",
    "Deployment",
    "MutatingWebhookConfiguration",
    "Secret",
    "ValidatingWebhookConfiguration",
)
"""Kinds whose change restarts the programs of a release."""


@dataclass
class _Cluster:
    """A control plane with its controllers, and who has rights on it."""

    plane: ControlPlane
    operators: Operators
    nodes: ProcessNodes
    grants: tuple[Grant, ...] = ()
    process_groups: dict[str, list[str]] = field(default_factory=dict)
    """Names of the nodes that are processes, by node group."""
    bare_groups: dict[str, ExitStack] = field(default_factory=dict)
    """The actions that end the nodes that are objects alone, by node group."""

    def end(self) -> None:
        """End nodes and programs."""
        while self.bare_groups:
            _, ending = self.bare_groups.popitem()
            # With a control plane that died the objects are gone as well.
            with suppress(*_EXPECTED):
                ending.close()
        self.nodes.stop()
        self.plane.stop()


@dataclass
class _Work:
    """One thread that does everything, in order."""

    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "control-planes"))

    def do(self, function: Callable[..., Any], *given: Any) -> Any:
        """Do something and return what it returned.

        Raises:
            ControlPlaneError: it failed; the text is the failure's.
        """
        try:
            return self.executor.submit(function, *given).result()
        except _EXPECTED as error:
            raise ControlPlaneError(str(error)) from error
        except RuntimeError as error:
            raise ControlPlaneError(f"the control planes are being ended: {error}") from error


class Clusters:
    """Control planes of the programs in the folder `assets`, each in a folder of its own under `folder`.

    `nodes` has a Node object for each pool, which a node group's label `pool_label` names. Nodes of `process_pools` run
    pods, whose `images` are folders (tests/kubernetes/process_node); the others are objects alone.
    """

    def __init__(
        self,
        assets: str,
        folder: str,
        pool_label: str = "",
        nodes: Mapping[str, Document] | None = None,
        process_pools: Sequence[str] = (),
        images: Mapping[str, str] | None = None,
    ) -> None:
        self._assets = Assets(Path(assets))
        self._folder = Path(folder)
        self._pool_label = pool_label
        self._nodes = nodes or {}
        self._process_pools = frozenset(process_pools)
        self._images = {name: Path(content) for name, content in (images or {}).items()}
        self._work = _Work()
        self._clusters: dict[str, _Cluster] = {}
        self._absent: dict[str, None] = {}
        self._ending = threading.Event()
        self._made = [path for path in MACHINE_FOLDERS if not path.exists()]

    def create(self, cluster: str, review_url: str) -> Address:
        """Start a control plane whose API server has tokens reviewed at `review_url`."""
        address: Address = self._work.do(self._create, cluster, review_url)
        return address

    def delete(self, cluster: str) -> None:
        """End a control plane and remove its folder; harmless where there is none."""
        self._work.do(self._delete, cluster)

    def install(self, cluster: str, release: Release, previous: Release | None = None) -> None:
        """Install a release and start its programs, or bring it from `previous` to what it is now."""
        self._work.do(self._install, cluster, release, previous)

    def uninstall(self, cluster: str, release: Release) -> None:
        """Delete a release's objects, end its programs, and wait until the objects are gone."""
        self._work.do(self._uninstall, cluster, release)

    def set_nodes(self, cluster: str, group: NodeGroup) -> None:
        """Set a group's number of nodes to its desired one."""
        self._work.do(self._set_nodes, cluster, group)

    def set_grants(self, cluster: str, grants: tuple[Grant, ...]) -> None:
        """Give exactly these rights to groups of users."""
        self._work.do(self._set_grants, cluster, grants)

    def notes(self) -> list[str]:
        """Return what is not installed."""
        if not self._absent:
            return []
        return [f"{', '.join(self._absent)}: {VARIABLE}'s folder has no objects of these charts"]

    def close(self) -> None:
        """End everything, also what is under way."""
        self._ending.set()
        self._end_all()
        self._work.executor.shutdown(wait=True, cancel_futures=True)
        self._end_all()
        for one in self._clusters.values():
            shutil.rmtree(one.plane.folder, ignore_errors=True)
        self._clusters.clear()
        SharedUse(LOCK).end(self._remove_machine_folders)

    def _remove_machine_folders(self) -> None:
        """Remove what was not there before: nobody else's program reads it."""
        for path in self._made:
            shutil.rmtree(path, ignore_errors=True)

    def _end_all(self) -> None:
        for one in list(self._clusters.values()):
            one.end()

    def _create(self, cluster: str, review_url: str) -> Address:
        folder = self._folder / cluster.rpartition("/")[2]
        folder.mkdir(parents=True)
        plane = ControlPlane(folder, self._assets, api_arguments=_review_arguments(folder, review_url))
        nodes = ProcessNodes(plane, folder / "nodes", images=self._images)
        self._clusters[cluster] = _Cluster(plane, Operators(plane, pods=False), nodes)
        try:
            plane.start()
        except BaseException:
            self._delete(cluster)
            raise
        authority = base64.b64encode(plane.authority.certificate.read_bytes()).decode()
        return Address(plane.server, authority)

    def _delete(self, cluster: str) -> None:
        held = self._clusters.pop(cluster, None)
        if held is not None:
            held.end()
            shutil.rmtree(held.plane.folder)

    def _cluster(self, cluster: str) -> _Cluster:
        held = self._clusters.get(cluster)
        if held is None:
            raise ProgramError(f"there is no control plane of '{cluster}'")
        held.plane.processes.check()
        return held

    def _install(self, cluster: str, release: Release, previous: Release | None) -> None:
        held = self._cluster(cluster)
        if release.chart:
            self._install_chart(held, release, previous)
        else:
            before = previous.documents if previous else ()
            changed = [one for one in release.documents if one not in before]
            if any(one["kind"] in _OF_PROGRAMS for one in changed):
                held.operators.stop(before)
                changed = list(release.documents)
            held.operators.install(changed, namespace=release.namespace)
            kept = {_identity(one, release.namespace) for one in release.documents}
            left = [one for one in before if _identity(one, release.namespace) not in kept]
            self._remove(held, left, release.namespace)
        self._bind(held)

    def _install_chart(self, held: _Cluster, release: Release, previous: Release | None) -> None:
        charts = ASSET_CHARTS.get(release.name, ())
        if not charts:
            self._absent[release.chart] = None
            return
        if previous is not None and previous.values == release.values:
            return
        for name in charts:
            if previous is not None:
                held.operators.stop(self._assets.documents(name, "release"))
            held.operators.install_chart(name, values=release.values)

    def _uninstall(self, cluster: str, release: Release) -> None:
        held = self._cluster(cluster)
        if not release.chart:
            self._remove(held, release.documents, release.namespace)
        for name in reversed(ASSET_CHARTS.get(release.name, ()) if release.chart else ()):
            self._remove(held, self._assets.documents(name, "release"), release.namespace)

    def _remove(self, held: _Cluster, documents: Sequence[Document], namespace: str) -> None:
        """Delete objects with their programs, and wait until they are gone."""
        held.operators.uninstall(documents, namespace=namespace)
        api = held.plane.api

        def remaining() -> Iterator[Document]:
            for one in documents:
                metadata = one["metadata"]
                where = {"name": metadata["name"], "namespace": metadata.get("namespace", namespace)}
                found = api.find(one["apiVersion"], one["kind"], **where)
                if found is not None and not found["metadata"].get("deletionTimestamp"):
                    # The controller of aggregated roles may make one anew that it had just read.
                    api.delete(one["apiVersion"], one["kind"], **where)
                if found is not None:
                    yield found

        def gone() -> bool:
            if self._ending.is_set():
                raise ProgramError("the control planes are being ended")
            return not any(True for _ in remaining())

        try:
            api.await_("deletion", gone, seconds=_GONE_SECONDS)
        except TimeoutError:
            left = _described(remaining())
            raise ProgramError(f"not deleted after {_GONE_SECONDS:.0f} s: {left}") from None

    def _set_nodes(self, cluster: str, group: NodeGroup) -> None:
        held = self._cluster(cluster)
        pool = group.labels.get(self._pool_label, "")
        node = self._nodes.get(pool)
        if node is None:
            return
        if pool in self._process_pools:
            names = held.process_groups.setdefault(group.name, [])
            while len(names) > group.nodes:
                held.nodes.end(names.pop())
            added = _names(pool, group.nodes - len(names), names)
            held.nodes.start(*[_named(node, name, group.labels) for name in added])
            names += added
            return
        held.bare_groups.pop(group.name, ExitStack()).close()
        if group.nodes:
            documents = [_named(node, name, group.labels) for name in _names(pool, group.nodes)]
            ending = ExitStack()
            ending.enter_context(BareNodes(held.plane.api, documents, pods_run=False))
            held.bare_groups[group.name] = ending

    def _set_grants(self, cluster: str, grants: tuple[Grant, ...]) -> None:
        held = self._cluster(cluster)
        unknown = sorted({one.policy for one in grants} - _ROLES.keys())
        if unknown:
            raise ProgramError(
                f"no roles of Kubernetes are known for the access policy {', '.join(unknown)}; "
                f"known are {', '.join(_ROLES)}"
            )
        held.grants = grants
        self._bind(held)

    def _bind(self, held: _Cluster) -> None:
        """Make the bindings of a cluster those of its grants, in the namespaces that exist by now."""
        api = held.plane.api
        spaces = {one["metadata"]["name"] for one in api.list("v1", "Namespace")}
        expected = {
            (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one
            for number, grant in enumerate(held.grants)
            for one in _bindings(grant, number, spaces)
        }
        for kind in ("ClusterRoleBinding", "RoleBinding"):
            for one in api.list(f"{_RBAC}/v1", kind, labelSelector=_LABEL):
                metadata = one["metadata"]
                if (kind, metadata.get("namespace", ""), metadata["name"]) not in expected:
                    api.delete(f"{_RBAC}/v1", kind, metadata["name"], namespace=metadata.get("namespace", ""))
        for one in expected.values():
            api.apply(one)


def _names(pool: str, count: int, taken: Sequence[str] = ()) -> list[str]:
    """Return names for nodes of a pool that none of it has."""
    free = (name for number in itertools.count(1) if (name := f"{pool}-{number}") not in taken)
    return list(itertools.islice(free, max(count, 0)))


def _named(node: Document, name: str, labels: Mapping[str, str]) -> Document:
    """Return a node's object under a name of its own, with the labels of its group."""
    merged = {**node["metadata"]["labels"], **labels, "kubernetes.io/hostname": name}
    return {**node, "metadata": {**node["metadata"], "name": name, "labels": merged}}


def _review_arguments(folder: Path, review_url: str) -> list[str]:
    """Return the arguments of an API server that has tokens of users reviewed, and write the file that they name."""
    path = folder / "token-review.kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "review", "cluster": {"server": review_url}}],
        "users": [{"name": "api-server", "user": {}}],
        "contexts": [{"name": "review", "context": {"cluster": "review", "user": "api-server"}}],
        "current-context": "review",
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return [
        f"--authentication-token-webhook-config-file={path}",
        "--authentication-token-webhook-version=v1",
        # Who loses an access entry is refused a second later.
        "--authentication-token-webhook-cache-ttl=1s",
    ]


def _bindings(grant: Grant, number: int, spaces: Iterable[str]) -> list[Document]:
    """Return the bindings of a grant; `number` tells grants of a cluster apart."""
    made = []
    for role in _ROLES[grant.policy]:
        binding: Document = {
            "apiVersion": f"{_RBAC}/v1",
            # The roles of a binding never change, so each role has bindings of its own name.
            "metadata": {"name": f"access-{number}:{grant.policy}:{role}", "labels": {_LABEL: "true"}},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": grant.group}],
        }
        if not grant.namespaces:
            made.append({**binding, "kind": "ClusterRoleBinding"})
        made += [
            {**binding, "kind": "RoleBinding", "metadata": {**binding["metadata"], "namespace": space}}
            for space in grant.namespaces
            if space in spaces
        ]
    return made


def _identity(document: Document, namespace: str) -> tuple[str, str, str, str]:
    metadata = document["metadata"]
    return (document["apiVersion"], document["kind"], metadata.get("namespace", namespace), metadata["name"])


def _described(documents: Iterable[Document]) -> str:
    """Return which objects remain, and what holds each."""
    held = [(one["kind"], one["metadata"]["name"], one["metadata"].get("finalizers")) for one in documents]
    return ", ".join(f"{kind} '{name}' (finalizers: {', '.join(by or ['none'])})" for kind, name, by in held)
