"""Training jobs on process nodes: a workload rendered for the cluster of a stack, its pods, ranks, logs and losses."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from catalog.cluster_info import ClusterInfo
from catalog.pool import Pool, Spot
from tests.kubernetes.plane.api import Api, Document
from tests.kubernetes.process_nodes import ProcessNodes
from tests.programs import ROOT
from tests.training.faults import printed
from tests.training.runs import rank_processes
from workloads.entry import PROGRAM_FOLDER, RUNTIME_FOLDER
from workloads.registry import workload
from workloads.render.pytorchjob import pytorchjob
from workloads.render.rayjob import rayjob
from workloads.render.trainjob import trainjob
from workloads.spec import Format, Run

NAMESPACE = "training"
POOL = Pool("cpu", "c6i.4xlarge", 2, "us-west-2a", Spot(), volume_gib=100)
"""The pool of processors of config/eks.yaml."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
NODES = 2
WAIT_SECONDS = 600.0
"""Timeout of a wait. It is no promise of speed: other programs may keep the machine busy."""

_RENDERERS = {Format.TRAINJOB: trainjob, Format.PYTORCHJOB: pytorchjob, Format.RAYJOB: rayjob}
_KINDS = {
    Format.TRAINJOB: ("trainer.kubeflow.org/v1alpha1", "TrainJob", "Complete"),
    Format.PYTORCHJOB: ("kubeflow.org/v1", "PyTorchJob", "Succeeded"),
    Format.RAYJOB: ("ray.io/v1", "RayJob", "Complete"),
}
"""Version, kind, and the condition of a job that has done its work."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


def lay_images(folder: Path, *names: str) -> dict[str, Path]:
    """Lay the content of workloads' images into folders, as their Dockerfiles do, and return them by image."""
    info = ClusterInfo.example("eks", names)
    found = {}
    for name in names:
        content = folder / name
        source = ROOT / "workloads"
        ignored = shutil.ignore_patterns("__pycache__", "manifests")
        shutil.copytree(source / workload(name).package, content / PROGRAM_FOLDER[1:], ignore=ignored)
        shutil.copytree(source / "runtime", content / RUNTIME_FOLDER[1:], ignore=ignored)
        for path in workload(name).packages:
            shutil.copytree(source / path, (content / RUNTIME_FOLDER[1:]).parent / path, ignore=ignored)
        found[info.images[name]] = content
    return found


@contextlib.contextmanager
def share(api: Api, factor: int) -> Iterator[None]:
    """Let the queue of research have a multiple of its nodes of processors, so that jobs run beside one another."""
    version, kind, name = "kueue.x-k8s.io/v1beta2", "ClusterQueue", "research"
    before = api.get(version, kind, name)["spec"]["resourceGroups"]
    larger = copy.deepcopy(before)
    for flavor in (one for group in larger for one in group["flavors"] if one["name"].startswith("cpu-")):
        for resource in flavor["resources"]:
            number, unit = re.fullmatch(r"(\d+)(\D*)", resource["nominalQuota"]).groups()  # type: ignore[union-attr]
            resource["nominalQuota"] = f"{int(number) * factor}{unit}"
    api.patch(version, kind, name, {"spec": {"resourceGroups": larger}})
    try:
        yield
    finally:
        api.patch(version, kind, name, {"spec": {"resourceGroups": before}})


class Job:
    """A run of a workload's tiny preset on two process nodes, submitted as the renderer writes it."""

    def __init__(
        self,
        api: Api,
        nodes: ProcessNodes,
        name: str,
        format_: Format,
        id_: str,
        *arguments: str,
        queue: str = "research",
        environment: Mapping[str, str] = _NOTHING,
    ) -> None:
        self._api = api
        self._nodes = nodes
        self.format = format_
        self._version, self._kind, self._done = _KINDS[format_]
        tiny = workload(name).presets["tiny"]
        preset = dataclasses.replace(tiny, arguments=(*tiny.arguments, *arguments))
        info = ClusterInfo.example("eks", [name])
        run = Run(workload(name), preset, POOL, NODES, id_, environment)
        document = yaml.safe_load(_RENDERERS[format_](run, info))
        document["metadata"]["labels"][QUEUE_LABEL] = queue
        self.name = str(document["metadata"]["name"])
        self.run_folder = f"{info.shared_folder}/runs/{name}/{id_}"
        self._folder = nodes.claims / NAMESPACE / info.claim / "runs" / name / id_
        self.begun = time.monotonic()
        api.create(document, namespace=NAMESPACE)

    @property
    def seconds(self) -> float:
        """The time since it was submitted."""
        return time.monotonic() - self.begun

    def logs(self) -> list[str]:
        """Return what each start of each pod printed."""
        return self._nodes.logs(NAMESPACE, f"{self.name}-")

    @property
    def log(self) -> str:
        """Output of all starts."""
        return "\n".join(self.logs())

    def starts(self) -> int:
        """Return how many starts have come to a step."""
        return sum(1 for log in self.logs() if printed(log))

    def pods(self) -> list[Document]:
        """Return its pods."""
        every = self._api.list("v1", "Pod", namespace=NAMESPACE)
        return [one for one in every if one["metadata"]["name"].startswith(f"{self.name}-")]

    def pod_of(self, node_rank: int) -> Document | None:
        """Return the pod of a node of the run that is not about to end; None where there is none."""
        master = "master" if node_rank == 0 else "worker"
        labels = {
            Format.PYTORCHJOB: {"training.kubeflow.org/replica-type": master},
            Format.TRAINJOB: {"batch.kubernetes.io/job-completion-index": str(node_rank)},
        }[self.format]
        for one in self.pods():
            metadata = one["metadata"]
            if labels.items() <= metadata["labels"].items() and "deletionTimestamp" not in metadata:
                return one
        return None

    def ranks(self) -> list[int]:
        """Return the process ids of its trainers, rank 0 first."""
        return rank_processes(self.run_folder)

    def conditions(self) -> dict[str, str]:
        """Return the status of its conditions; a RayJob has a state in their place."""
        found = self._api.get(self._version, self._kind, self.name, namespace=NAMESPACE)
        status = found.get("status", {})
        if self.format is Format.RAYJOB:
            return {status.get("jobDeploymentStatus", "New"): "True"}
        return {one["type"]: one["status"] for one in status.get("conditions", ())}

    def await_(self, what: str, met: Callable[[], Any]) -> Any:
        """Wait until something is reached.

        Raises:
            AssertionError: the job failed before, or it takes too long; the text has the state and the log.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := met()):
            conditions = self.conditions()
            failed = conditions.get("Failed") == "True" or time.monotonic() > deadline
            assert not failed, f"{self.name}: {what}: not reached\n{conditions}\n{self._state()}\n{self.log}"
            time.sleep(0.3)
        return found

    def await_checkpoint(self) -> None:
        """Wait until a checkpoint is finished."""
        self.await_("the first checkpoint", lambda: "checkpoint step=" in self.log)

    def await_step(self, step: int) -> None:
        """Wait until a step was reported."""
        self.await_(f"step {step}", lambda: any(done >= step for done, _ in printed(self.log)))

    def await_another_start(self, before: int) -> None:
        """Wait until more starts than `before` have come to a step."""
        self.await_("a step of another start", lambda: self.starts() > before)

    def finish(self) -> None:
        """Wait until it has done its work."""
        self.await_("the end", lambda: self.conditions().get(self._done) == "True")

    def delete(self) -> None:
        """Delete it, and wait until its pods are gone."""
        self._api.delete(self._version, self._kind, self.name, namespace=NAMESPACE)
        self._api.await_("its pods are gone", lambda: not self.pods(), seconds=WAIT_SECONDS)

    def _state(self) -> str:
        lines = []
        for one in self.pods():
            status = one["status"]
            states = [each.get("state") for each in status.get("containerStatuses", ())]
            lines.append(
                f"{one['metadata']['name']} on {one['spec'].get('nodeName')}: {status['phase']} {states}"
            )
        workloads = self._api.list("kueue.x-k8s.io/v1beta2", "Workload", namespace=NAMESPACE)
        for one in workloads:
            lines.append(f"{one['metadata']['name']}: {one.get('status', {}).get('conditions')}")
        return "\n".join(lines)
