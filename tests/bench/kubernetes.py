"""Benchmark of scheduling: a real control plane with the stack's operators and queues places jobs on 1,000 nodes."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from catalog.cluster_info import ClusterInfo
from catalog.pool import OnDemand, Pool
from tests.bench.measure import Measure
from tests.kubernetes import capacity
from tests.kubernetes.plane.api import Api, Document
from tests.kubernetes.plane.assets import VARIABLE, Assets
from tests.kubernetes.plane.control_plane import ControlPlane
from tests.kubernetes.plane.operators import Operators
from tests.kubernetes.releases import install, releases
from tests.synthesis import synthesize
from workloads import registry
from workloads.render.trainjob import trainjob
from workloads.spec import Run

NODES = 1000
LARGE, SMALL = 512, 64
QUEUED, QUEUED_NODES = 100, 4
POOL = Pool("gpu", "p5.48xlarge", NODES, "us-west-2a", OnDemand())

_GROWTH_BOUND = LARGE / SMALL
_OBJECT_BOUND_MB = 1.5
"""The largest object that etcd takes (etcd, --max-request-bytes)."""
_SECONDS_BOUND = 300.0
_NODES_OF_A_SWITCH, _NODES_OF_A_BLOCK = 16, 128
_THREADS = 8
_KUEUE = "kueue.x-k8s.io/v1beta2"
_SETTLED_SECONDS = 5.0
_JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"

_CONFIGURATION = f"""
name: scale
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {{instance_type: {POOL.instance_type}, nodes: {NODES}, availability_zone: us-west-2a}}
  cpu: {{instance_type: c6i.4xlarge, nodes: 2}}
storage:
  lustre: {{capacity_gib: 4800, throughput_mbps_per_tib: 250}}
eks:
  pools: [gpu, cpu]
  software: {{jobs: [trainer], queues: {{research: {{nodes: {{gpu: {NODES}, cpu: 2}}}}}}}}
"""


def placements() -> Iterator[Measure]:
    """Yield seconds until jobs are placed, how they grow, and sizes of objects; nothing without the programs."""
    assets = Assets.find()
    if assets is None:
        print(f"not measured: placement, {VARIABLE} names no Kubernetes programs", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield from _measured(assets, Path(folder))


def _measured(assets: Assets, folder: Path) -> Iterator[Measure]:
    configuration = folder / "scale.yaml"
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    template = synthesize(configuration, folder / "cdk.out").templates["EksStack"]
    # Nothing sends heartbeats for 1,000 nodes every ten seconds; they must not count as lost.
    patient = ["--node-monitor-grace-period=1h"]
    with ControlPlane(folder / "plane", assets, controller_manager_arguments=patient) as plane:
        operators = Operators(plane)
        for release in releases(template):
            install(release, operators)
        _make_nodes(plane.kubeconfig)
        _settle(plane.api)
        info = replace(ClusterInfo.example("eks", registry.names()), namespace="training")
        small = _placed(plane.api, _job(info, "small", SMALL), SMALL)
        large = _placed(plane.api, _job(info, "large", LARGE), LARGE)
        queue = _admitted(plane.api, [_job(info, f"queued-{index}", QUEUED_NODES) for index in range(QUEUED)])
        sizes = _sizes(plane.api)
    where = f"{NODES} nodes of 8 GPUs, with queues"
    yield Measure(f"a TrainJob of {LARGE} nodes placed", large, _SECONDS_BOUND, "s", where)
    yield Measure(
        f"a TrainJob of {LARGE} nodes placed / one of {SMALL}",
        large / small,
        _GROWTH_BOUND,
        "",
        f"{large:.1f} s / {small:.1f} s, {where}",
    )
    yield Measure(
        f"{QUEUED} queued TrainJobs of {QUEUED_NODES} nodes admitted",
        queue,
        _SECONDS_BOUND,
        "s",
        "in the same run",
    )
    kind, size = max(sizes.items(), key=lambda item: item[1])
    detail = ", ".join(f"{name} {bytes_ / 1000:.0f} kB" for name, bytes_ in sizes.items())
    yield Measure(f"the largest object, a {kind}", size / 1e6, _OBJECT_BOUND_MB, "MB", detail)


def _make_nodes(kubeconfig: Path) -> None:
    def make(indexes: Sequence[int]) -> None:
        api = Api(kubeconfig)
        for index in indexes:
            blocks = ("one", str(index // _NODES_OF_A_BLOCK), str(index // _NODES_OF_A_SWITCH))
            node = capacity.node(POOL, f"gpu-{index}", blocks=blocks)
            api.create(node)
            api.patch("v1", "Node", f"gpu-{index}", {"status": node["status"]}, part="status")

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(make, (range(start, NODES, _THREADS) for start in range(_THREADS))))


def _settle(api: Api) -> None:
    """Wait until the controller manager has annotated the nodes for a cluster of this size, 20 requests a second.

    Pods would be created more slowly meanwhile, which no cluster that has its nodes sees.
    """

    def unchanged() -> bool:
        seen = [{one["metadata"]["resourceVersion"] for one in api.list("v1", "Node")}]
        time.sleep(_SETTLED_SECONDS)
        seen.append({one["metadata"]["resourceVersion"] for one in api.list("v1", "Node")})
        return seen[0] == seen[1]

    api.await_("nobody changes the nodes", unchanged, seconds=_SECONDS_BOUND)


def _job(info: ClusterInfo, name: str, nodes: int) -> Document:
    workload = registry.workload("fsdp")
    document: dict[str, Any] = yaml.safe_load(
        trainjob(Run.on_type(workload, workload.reference, POOL.instance_type, nodes), info)
    )
    document["metadata"]["name"] = name
    return document


def _placed(api: Api, job: Document, nodes: int) -> float:
    """Return the seconds from a job's creation until each of its pods has a node."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    start = time.perf_counter()
    api.create(job)

    def all_have_a_node() -> bool:
        pods = api.list("v1", "Pod", namespace=namespace, labelSelector=f"{_JOB_LABEL}={name}")
        return sum("nodeName" in pod["spec"] for pod in pods) == nodes

    api.await_(f"{nodes} pods of '{name}' are placed", all_have_a_node, seconds=2 * _SECONDS_BOUND)
    return time.perf_counter() - start


def _admitted(api: Api, jobs: Sequence[Document]) -> float:
    """Return the seconds from the creation of the first of some jobs until Kueue admitted all of them."""
    namespace = jobs[0]["metadata"]["namespace"]
    before = len(api.list(_KUEUE, "Workload", namespace=namespace))
    start = time.perf_counter()
    for job in jobs:
        api.create(job)

    def all_are_admitted() -> bool:
        found = api.list(_KUEUE, "Workload", namespace=namespace)
        admitted = [
            one
            for one in found
            for condition in one.get("status", {}).get("conditions", ())
            if condition["type"] == "Admitted" and condition["status"] == "True"
        ]
        return len(admitted) == before + len(jobs)

    api.await_(f"{len(jobs)} jobs are admitted", all_are_admitted, seconds=2 * _SECONDS_BOUND)
    return time.perf_counter() - start


def _sizes(api: Api) -> dict[str, int]:
    """Return the bytes of the largest object of each kind that grows with a job."""
    kinds = {
        "Workload": _KUEUE,
        "TrainJob": "trainer.kubeflow.org/v1alpha1",
        "JobSet": "jobset.x-k8s.io/v1alpha2",
        "Job": "batch/v1",
        "ClusterQueue": _KUEUE,
    }
    return {
        kind: max(len(json.dumps(one, separators=(",", ":"))) for one in api.list(version, kind))
        for kind, version in kinds.items()
    }
