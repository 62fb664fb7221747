"""Staged runs of cpu-ddp on process nodes, launched as JobSets under the real controllers, in the stack's queues."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import itertools
import os
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from catalog.cluster_info import ClusterInfo
from cli.submit import kubernetes
from cli.submit.submission import SubmittedJob
from tests.kubernetes import capacity
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.plane.api import Document
from tests.kubernetes.process_node.network import GATEWAY
from tests.kubernetes.process_nodes import ProcessNodes, why_not
from tests.kubernetes.training_jobs import NAMESPACE, NODES, POOL, lay_images, share
from tests.programs import not_available, require_module
from tests.training.faults import printed
from workloads.program import Program
from workloads.registry import workload
from workloads.render.jobset import jobset
from workloads.spec import Run
from workloads.stage import Stage

require_module("torch", "make setup-train installs it")

INFO = ClusterInfo.example("eks", ["cpu-ddp"])
OF = workload("cpu-ddp")
(DOWNLOAD,) = OF.stages
FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
SAMPLES = 64
CHECK = Stage(
    name="check",
    program=Program(command=("bash", "-c", "ls $DATA_FOLDER && echo node $NODE_RANK of $NNODES has them")),
    nodes=None,
)
BROKEN = Stage(name="broken", program=Program(command=("bash", "-c", "echo input is missing; exit 66")))


@pytest.fixture(scope="module")
def nodes(eks_cluster: Cluster, artifacts: Callable[[str], Path]) -> Iterator[ProcessNodes]:
    """Process nodes for the training and for its stages: the queue counts the nodes of all."""
    if reason := why_not():
        not_available(reason)
    folder = artifacts("staged-run-nodes")
    images = lay_images(folder / "images", "cpu-ddp")
    with ProcessNodes(eks_cluster.plane, folder / "nodes", images=images) as running:
        running.start(*(capacity.node(POOL, f"staged-{number}") for number in range(2 * NODES + 1)))
        with share(eks_cluster.api, 3):
            yield running


@pytest.fixture
def download(tmp_path: Path) -> Iterator[Stage]:
    """The stage of cpu-ddp, which fetches a small data set from this machine."""
    content = {
        FILES[0]: struct.pack(">4I", 2051, SAMPLES, 28, 28) + bytes(range(49)) * 16 * SAMPLES,
        FILES[1]: struct.pack(">2I", 2049, SAMPLES) + bytes(number % 10 for number in range(SAMPLES)),
    }
    for name, plain in content.items():
        (tmp_path / name).write_bytes(gzip.compress(plain))
    sums = [hashlib.md5((tmp_path / name).read_bytes(), usedforsecurity=False).hexdigest() for name in FILES]
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://{GATEWAY.partition('/')[0]}:{server.server_address[1]}"
        yield replace(DOWNLOAD, arguments=(f"--mirror={mirror}", "--md5", *sums))
        server.shutdown()


@pytest.fixture
def launch(
    eks_cluster: Cluster, nodes: ProcessNodes, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, SubmittedJob]]:
    """Return what submits a run with stages as the command does, by kubectl."""
    plane = eks_cluster.plane
    kubectl = Path(plane.assets.program("kubectl")).parent
    monkeypatch.setenv("PATH", f"{kubectl}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.setattr(kubernetes, "context_of", lambda _: "here")
    monkeypatch.setattr(kubernetes, "POLL_SECONDS", 1)

    def submitted(id_: str, *stages: Stage) -> tuple[str, SubmittedJob]:
        tiny = OF.presets["tiny"]
        preset = replace(OF.presets["mnist"], arguments=(*tiny.arguments, "--data=mnist"), global_batch=32)
        of = replace(OF, stages=stages, presets=MappingProxyType({preset.name: preset}))
        run = Run(of, preset, POOL, NODES, id_)
        sending = kubernetes.kubernetes_submission(run, INFO, jobset(run, INFO))
        assert sending.obstacle == ""
        return run.name, sending.send()

    return submitted


def jobs(cluster: Cluster, name: str) -> dict[str, Document]:
    """Return the Jobs of a set by their stage."""
    found = cluster.api.list(
        "batch/v1", "Job", namespace=NAMESPACE, labelSelector=f"jobset.sigs.k8s.io/jobset-name={name}"
    )
    return {one["metadata"]["labels"]["jobset.sigs.k8s.io/replicatedjob-name"]: one for one in found}


def delete(cluster: Cluster, name: str) -> None:
    cluster.api.delete("jobset.x-k8s.io/v1alpha2", "JobSet", name, namespace=NAMESPACE)

    def gone() -> bool:
        return not any(
            one["metadata"]["name"].startswith(f"{name}-")
            for one in cluster.api.list("v1", "Pod", namespace=NAMESPACE)
        )

    cluster.api.await_("its pods are gone", gone, seconds=120)


@pytest.mark.heavy
@pytest.mark.proof("cpu-ddp", "jobset", "executed (real controllers)")
def test_stages_run_in_order_once_and_a_failed_one_keeps_the_training_from_starting(
    eks_cluster: Cluster,
    nodes: ProcessNodes,
    launch: Callable[..., tuple[str, SubmittedJob]],
    download: Stage,
) -> None:
    name, sent = launch("staged", download, CHECK)
    assert sent.wait() == 0, nodes.logs(NAMESPACE, name)
    ran = jobs(eks_cluster, name)
    assert set(ran) == {"download", "check", "train"}
    for first, then in itertools.pairwise(["download", "check", "train"]):
        assert ran[first]["status"]["completionTime"] <= ran[then]["metadata"]["creationTimestamp"]
    assert f"{FILES[0]}: " in "".join(nodes.logs(NAMESPACE, f"{name}-download"))
    checked = "".join(nodes.logs(NAMESPACE, f"{name}-check"))
    assert all(f"{FILES[1]}\nnode {number} of {NODES} has them" in checked for number in range(NODES)), (
        checked
    )
    logs = nodes.logs(NAMESPACE, f"{name}-train")
    assert len(logs) == NODES
    assert [step for log in logs for step, _ in printed(log)] == list(range(1, 61))
    delete(eks_cluster, name)

    name, sent = launch("broken", download, BROKEN)
    assert sent.wait() == 66
    assert set(jobs(eks_cluster, name)) == {"download", "broken"}, "the training was not to be made"
    again = "".join(nodes.logs(NAMESPACE, f"{name}-download"))
    assert "'download' is done" in again
    assert FILES[0] not in again
    found = eks_cluster.api.get("jobset.x-k8s.io/v1alpha2", "JobSet", name, namespace=NAMESPACE)
    (failed,) = (one for one in found["status"]["conditions"] if one["type"] == "Failed")
    assert failed["reason"] == "FailJobSetFailurePolicyAction"
    assert found["status"].get("restarts", 0) == 0
    delete(eks_cluster, name)
