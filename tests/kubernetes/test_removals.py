"""Queues that are removed: all of Kueue goes where no job is in them, and stays half deleted where one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from catalog.pool import OnDemand, Pool
from tests.kubernetes import capacity
from tests.kubernetes.combinations import COMBINATIONS
from tests.kubernetes.object_sets import delete_all, left
from tests.kubernetes.plane.api import Api, Document, Refused
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.plane.operators import Operators
from tests.kubernetes.releases import Release, install, releases
from tests.synthesis import Synthesis

KUEUE = "kueue.x-k8s.io/v1beta2"
SECONDS = 120.0
IN_USE = ("ClusterQueue", "ResourceFlavor", "Topology")
"""Kinds whose objects Kueue holds back while jobs of theirs run."""

RELEASE_SECONDS = 15.0
STUCK_SECONDS = 10.0


@dataclass(frozen=True)
class Queued:
    """A cluster with queues and the MPI operator."""

    plane: ControlPlane
    operators: Operators
    place: Release
    others: tuple[Release, ...]
    kueue: tuple[Document, ...]

    def remove_queues(self) -> None:
        """Remove the queues, then Kueue, as an update to a configuration without queues does."""
        queues = [one for one in self.place.documents if one["apiVersion"] == KUEUE]
        self.operators.uninstall(queues)
        # CloudFormation deletes Kueue's release when all else is updated: Kueue has time for what it can release.
        with suppress(TimeoutError):
            self.plane.api.await_(
                "the queues are gone", lambda: not left(self.plane.api, queues), seconds=RELEASE_SECONDS
            )
        self.operators.uninstall(self.kueue)


@pytest.fixture
def queued(control_plane: ControlPlane, synthesized: Callable[[str], Synthesis]) -> Iterator[Queued]:
    ordered = releases(synthesized(COMBINATIONS["MPI operator, queues"]).templates["EksStack"])
    operators = Operators(control_plane)
    for release in ordered:
        install(release, operators)
    assets = control_plane.assets
    kueue = [*assets.documents("kueue", "definitions"), *assets.documents("kueue", "release")]
    *others, place = ordered
    assert place.name.endswith("-namespace")
    yield Queued(control_plane, operators, place, tuple(others), tuple(kueue))
    operators.uninstall(place.documents)
    operators.uninstall(kueue)
    for release in others:
        operators.uninstall(release.documents)
    delete_all(
        control_plane.api,
        [*kueue, *place.documents, *(one for release in others for one in release.documents)],
    )


@contextmanager
def node(api: Api) -> Iterator[None]:
    """Give the cluster a node of the pool, without which no job is admitted."""
    made = capacity.node(Pool("cpu", "c6i.4xlarge", 1, "us-west-2a", OnDemand()), "one")
    api.create(made)
    api.patch("v1", "Node", "one", {"status": made["status"]}, part="status")
    # The node controller taints what has just come.
    api.patch("v1", "Node", "one", {"spec": {"taints": []}})
    yield
    api.delete("v1", "Node", "one")


JOB: Document = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {
        "name": "held",
        "namespace": "training",
        "labels": {"kueue.x-k8s.io/queue-name": "research"},
    },
    "spec": {
        "suspend": True,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "main",
                        "image": "example.com/image:1",
                        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                    }
                ],
            }
        },
    },
}


def kinds(queued: Queued) -> list[Document]:
    """Return Kueue's definitions and the stack's objects of its kinds: what must go that queues may come again."""
    definitions = [one for one in queued.kueue if one["kind"] == "CustomResourceDefinition"]
    return [*definitions, *(one for one in queued.place.documents if one["apiVersion"] == KUEUE)]


def admitted(api: Api) -> bool:
    return any(
        condition["type"] == "Admitted" and condition["status"] == "True"
        for one in api.list(KUEUE, "Workload")
        for condition in one.get("status", {}).get("conditions", ())
    )


@pytest.mark.heavy
def test_queues_without_jobs_are_removed_and_nothing_is_left(queued: Queued) -> None:
    queued.remove_queues()
    queued.plane.api.await_(
        "Kueue is gone", lambda: not left(queued.plane.api, kinds(queued)), seconds=SECONDS
    )


@pytest.mark.heavy
def test_queues_with_a_job_leave_what_only_kueue_releases(queued: Queued) -> None:
    api = queued.plane.api
    with node(api):
        api.create(JOB)
        api.await_("the job is admitted", lambda: admitted(api), seconds=SECONDS)
        queued.remove_queues()
        api.delete("batch/v1", "Job", "held", namespace="training")
    try:
        with pytest.raises(TimeoutError):
            api.await_("Kueue is gone", lambda: not left(api, kinds(queued)), seconds=STUCK_SECONDS)
        stuck = {one.partition(" ")[0] for one in left(api, kinds(queued))}
        assert stuck == {*IN_USE, "CustomResourceDefinition"}
        for one in api.list(KUEUE, "ClusterQueue"):
            assert "deletionTimestamp" in one["metadata"]
            assert one["metadata"]["finalizers"] == ["kueue.x-k8s.io/resource-in-use"]
    finally:
        _release(api)


def _release(api: Api) -> None:
    """Take away what Kueue would release, as an administrator has to do by hand."""
    for kind in (*IN_USE, "Workload"):
        try:
            found = api.list(KUEUE, kind)
        except Refused as refusal:
            # Of this kind nothing was held back, and its definition is gone.
            if refusal.code != 404:
                raise
            continue
        for one in found:
            metadata = one["metadata"]
            where = metadata.get("namespace", "")
            api.patch(KUEUE, kind, metadata["name"], {"metadata": {"finalizers": None}}, namespace=where)
