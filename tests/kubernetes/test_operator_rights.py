"""Each operator alone, as its own service account: it starts, runs a job through its life, and is refused nothing.

The jobs take every path that the operators' roles have verbs for: held back and released, pods that run, restart and
end, an elastic job, and what is left is taken away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from tests.kubernetes.combinations import COMBINATIONS
from tests.kubernetes.object_sets import delete_all
from tests.kubernetes.plane.api import Document, Refused
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.plane.operators import Operators
from tests.kubernetes.releases import ASSET_CHARTS, install, releases
from tests.synthesis import Synthesis
from tests.unit.rendering import MPI, RAY, TORCH, read
from trainforge.eks.job_rbac import job_groups
from workloads.render.mpijob import mpijob
from workloads.render.pytorchjob import pytorchjob
from workloads.render.rayjob import NODE_TYPE, rayjob
from workloads.render.trainjob import trainjob
from workloads.spec import Run

INFO = ClusterInfo.example("eks", [TORCH.name, MPI.name])
RAY_INFO = ClusterInfo.example("eks", [RAY.name])
SECONDS = 120.0


@contextmanager
def installed(plane: ControlPlane, synthesis: Synthesis) -> Iterator[str]:
    """Install the releases of an EKS stack, and take them away; yields the namespace of the jobs."""
    operators = Operators(plane)
    ordered = releases(synthesis.templates["EksStack"])
    documents: list[Document] = []
    for release in ordered:
        documents += release.documents
        for name in ASSET_CHARTS.get(release.name, ()):
            documents += [
                *plane.assets.documents(name, "definitions"),
                *plane.assets.documents(name, "release"),
            ]
    try:
        for release in ordered:
            install(release, operators)
        yield ordered[-1].name.removesuffix("-namespace")
    finally:
        for release in reversed(ordered):
            operators.uninstall(release.documents, namespace=release.namespace)
        operators.uninstall(documents)
        delete_all(plane.api, documents)


class Jobs:
    """A job's life, seen by an editor; this class sets the states of pods, because no node runs them."""

    def __init__(self, plane: ControlPlane, namespace: str, document: Document) -> None:
        self.api = plane.api
        self.plane = plane
        (group,) = job_groups("edit")
        self.editor = plane.api.acting_as("ana", group)
        self.namespace = namespace
        self.document = copy.deepcopy(document)
        self.document["metadata"]["namespace"] = namespace
        self.key = document["apiVersion"], document["kind"], document["metadata"]["name"]

    def create(self) -> None:
        self.editor.create(self.document)

    def patch(self, **spec: Any) -> None:
        self.editor.patch(*self.key, {"spec": spec}, namespace=self.namespace)

    def pods(self) -> list[Document]:
        return self.api.list("v1", "Pod", namespace=self.namespace)

    def await_pods(self, count: int, *, at_least: bool = False) -> None:
        """Wait until the job has this many pods."""

        def there() -> bool:
            found = len(self.pods())
            return found == count or (at_least and found > count)

        try:
            self.api.await_(f"{count} pods", there, seconds=SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{error}, but {len(self.pods())}; {self.said()}") from None

    def say(self, phase: str) -> None:
        """Report a phase of all pods that are there, as a kubelet would."""
        ready = phase == "Running"
        for one in self.pods():
            status = {
                "phase": phase,
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "containerStatuses": [
                    {
                        "name": container["name"],
                        "image": "",
                        "imageID": "",
                        "restartCount": 0,
                        "ready": ready,
                        "state": {"running": {}} if ready else {"terminated": {"exitCode": 0}},
                    }
                    for container in one["spec"]["containers"]
                ],
            }
            name = one["metadata"]["name"]
            try:
                self.api.patch("v1", "Pod", name, {"status": status}, namespace=self.namespace, part="status")
            except Refused as refusal:
                # A job that ends takes its other pods away.
                if refusal.reason != "NotFound":
                    raise

    def await_condition(self, *names: str) -> None:
        """Wait until the job has one of some conditions."""

        def met() -> bool:
            found = self.editor.get(*self.key, namespace=self.namespace)
            conditions = found.get("status", {}).get("conditions") or []
            return any(one["type"] in names and one["status"] == "True" for one in conditions)

        try:
            self.api.await_(f"{self.key[1]} is {' or '.join(names)}", met, seconds=SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {self.said()}") from None

    def delete(self) -> None:
        self.editor.delete(*self.key, namespace=self.namespace)
        self.await_pods(0)

    def said(self) -> str:
        """Return the operators' refused requests and their log lines on the job, for messages of tests."""
        events = self.api.list("v1", "Event", namespace=self.namespace)
        told = [
            f"{one['reason']}: {one.get('message', '')[:300]}" for one in events if one["type"] == "Warning"
        ]
        return "; ".join([*refusals(self.plane), *told[-5:]]) or "no refusal is in logs or events"


def refusals(plane: ControlPlane) -> list[str]:
    """Return lines of the operators' logs that tell of a right which they have not."""
    return [
        f"{path.stem}: {line[:400]}"
        for path in sorted((plane.folder / "logs").glob("*.log"))
        if path.stem
        in (
            *("jobset-manager", "kuberay-operator", "kueue-manager", "mpi-operator"),
            *("trainer-manager", "training-operator"),
        )
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if "forbidden" in line
    ]


def suspended(document: Document) -> Document:
    """Return a job that waits to be released, as Kueue's do."""
    found = copy.deepcopy(document)
    holder = found["spec"] if found["kind"] == "TrainJob" else found["spec"].setdefault("runPolicy", {})
    holder["suspend"] = True
    return found


def elastic(document: Document) -> Document:
    """Return a PyTorchJob that grows by its processors' use."""
    found = copy.deepcopy(document)
    found["metadata"]["name"] += "-elastic"
    found["spec"]["pytorchReplicaSpecs"].pop("Master")
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    found["spec"]["elasticPolicy"] = {"minReplicas": 1, "maxReplicas": 2, "metrics": [metric]}
    found["spec"]["runPolicy"]["cleanPodPolicy"] = "All"
    return found


@pytest.mark.heavy
def test_the_training_operator_alone(
    control_plane: ControlPlane, synthesized: Callable[[str], Synthesis]
) -> None:
    rendered = read(pytorchjob(Run.on_type(TORCH, TORCH.reference, "c6i.4xlarge", 2), INFO))
    with installed(control_plane, synthesized(COMBINATIONS["training operator, Neuron"])) as namespace:
        first = Jobs(control_plane, namespace, suspended(rendered))
        first.create()
        first.await_condition("Suspended")
        first.patch(runPolicy={"suspend": False})
        first.await_pods(2)
        first.say("Running")
        first.await_condition("Running")
        first.patch(runPolicy={"suspend": True})
        first.await_pods(0)
        first.patch(runPolicy={"suspend": False})
        first.await_pods(2)
        first.say("Succeeded")
        first.await_condition("Succeeded")
        first.delete()

        second = Jobs(control_plane, namespace, elastic(rendered))
        second.create()
        second.await_pods(1)
        scaler = ("autoscaling/v2", "HorizontalPodAutoscaler", second.key[2])
        second.api.await_("a scaler", lambda: second.api.find(*scaler, namespace=namespace), seconds=SECONDS)
        second.say("Running")
        second.await_condition("Running")
        # Another bound, which the operator writes into its scaler.
        second.patch(elasticPolicy={"maxReplicas": 3})
        second.api.await_(
            "the scaler has the new bound",
            lambda: second.api.get(*scaler, namespace=namespace)["spec"]["maxReplicas"] == 3,
            seconds=SECONDS,
        )
        second.say("Succeeded")
        second.await_condition("Succeeded")
        second.await_pods(0)
        second.delete()
        assert refusals(control_plane) == []


@pytest.mark.heavy
def test_the_mpi_operator_alone(control_plane: ControlPlane, synthesized: Callable[[str], Synthesis]) -> None:
    rendered = read(mpijob(Run.on_type(MPI, MPI.reference, "c6i.4xlarge", 2), INFO))
    combination = COMBINATIONS["MPI operator in the default namespace"]
    with installed(control_plane, synthesized(combination)) as namespace:
        job = Jobs(control_plane, namespace, suspended(rendered))
        job.create()
        job.await_condition("Suspended")
        job.patch(runPolicy={"suspend": False})
        # The launcher comes with the worker, or when it runs: the operator may have made its job while all was held.
        job.await_pods(1, at_least=True)
        job.say("Running")
        job.await_pods(2)
        job.say("Running")
        job.await_condition("Running")
        job.patch(runPolicy={"suspend": True})
        job.await_pods(0)
        # The launcher's job is there already, and is released with the worker.
        job.patch(runPolicy={"suspend": False})
        job.await_pods(2)
        job.say("Succeeded")
        job.await_condition("Succeeded")
        job.delete()
        assert refusals(control_plane) == []


@pytest.mark.heavy
def test_kuberay_alone(control_plane: ControlPlane, synthesized: Callable[[str], Synthesis]) -> None:
    """It makes clusters, holds them back and replaces workers; no head answers, so that no driver is started."""
    rendered = read(rayjob(Run.on_type(RAY, RAY.reference, "c6i.4xlarge", 2), RAY_INFO))
    combination = COMBINATIONS["KubeRay alone; HyperPod with KubeRay"]
    with installed(control_plane, synthesized(combination)) as namespace:
        job = Jobs(control_plane, namespace, rendered)
        job.document["spec"]["suspend"] = True
        job.create()
        job.patch(suspend=False)
        job.await_pods(3)
        job.say("Running")
        job.patch(suspend=True)
        job.await_pods(0)
        job.patch(suspend=False)
        job.await_pods(3)
        job.say("Running")
        first = next(one for one in job.pods() if one["metadata"]["labels"][NODE_TYPE] == "worker")
        name = first["metadata"]["name"]
        job.api.delete("v1", "Pod", name, namespace=namespace, grace_seconds=0)
        job.api.await_(
            "another worker",
            lambda: len(job.pods()) == 3 and name not in {one["metadata"]["name"] for one in job.pods()},
            seconds=SECONDS,
        )
        job.delete()
        assert refusals(control_plane) == []


@pytest.mark.heavy
def test_trainer_alone(control_plane: ControlPlane, synthesized: Callable[[str], Synthesis]) -> None:
    rendered = read(trainjob(Run.on_type(TORCH, TORCH.reference, "c6i.4xlarge", 2), INFO))
    with installed(
        control_plane, synthesized(COMBINATIONS["trainer, EFA; HyperPod with Trainer alone"])
    ) as namespace:
        job = Jobs(control_plane, namespace, suspended(rendered))
        job.create()
        job.await_condition("Suspended")
        job.patch(suspend=False)
        job.await_pods(2)
        job.say("Running")
        job.say("Succeeded")
        job.await_condition("Complete")
        job.delete()
        assert refusals(control_plane) == []
