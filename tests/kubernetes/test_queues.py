"""Queues as docs/eks-software.md describes them: whole jobs, shares that are lent and taken back, priorities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from catalog.job_queues import Queue
from catalog.kubernetes import GPU as GPU_TAINT
from catalog.kubernetes import UNREACHABLE_SECONDS
from catalog.reference_types import CPU, GPU
from tests.kubernetes.bare_nodes import finish
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.job_namespace import JobNamespace, job_namespace, pool
from tests.kubernetes.plane.api import Document
from tests.unit.rendering import RENDERERS, read
from trainforge.eks.queues import API as KUEUE
from workloads import registry
from workloads.spec import Format, Run

QUEUE = "kueue.x-k8s.io/queue-name"
PRIORITY = "kueue.x-k8s.io/priority-class"

Made = Callable[..., JobNamespace]


@pytest.fixture
def made(eks_cluster: Cluster) -> Iterator[Made]:
    """Return what makes a namespace with one pool of processors, `nodes` of them there, and its queues."""
    with ExitStack() as stack:

        def make(name: str, *queues: Queue, nodes: int) -> JobNamespace:
            pools = [pool(name, CPU, nodes)]
            return stack.enter_context(job_namespace(eks_cluster.api, name, pools, queues=queues))

        yield make


def job(
    where: JobNamespace,
    id_: str,
    nodes: int,
    *,
    queue: str = "",
    priority: str = "",
    as_: Format = Format.TRAINJOB,
) -> Document:
    """Return a job of cpu-ddp of some nodes; its name ends in the id."""
    workload = registry.workload("cpu-ddp")
    (where_to,) = where.pools
    run = Run(workload, workload.presets["tiny"], where_to, nodes, id_)
    document = read(RENDERERS[as_](run, where.info(workload.name)))
    labels = {QUEUE: queue, PRIORITY: priority}
    document["metadata"]["labels"] |= {name: one for name, one in labels.items() if one}
    return document


def name_of(document: Document) -> str:
    return str(document["metadata"]["name"])


@pytest.mark.parametrize("format_", [Format.TRAINJOB, Format.PYTORCHJOB], ids=str)
def test_a_job_that_does_not_fit_its_share_gets_no_pod(made: Made, format_: Format) -> None:
    where = made(f"whole-{format_}", Queue("whole", {f"whole-{format_}": 2}, borrow=False), nodes=3)
    large = job(where, "large", 3, as_=format_)
    where.submit(large)
    where.await_waiting(name_of(large), "insufficient quota")
    small = job(where, "small", 2, as_=format_)
    where.submit(small)
    where.await_pods(name_of(small), 2)
    assert where.pods(name_of(large)) == []


def test_a_job_whose_nodes_are_not_there_gets_no_pod(made: Made) -> None:
    """A share may be larger than the pool is at the moment."""
    where = made("fewer", Queue("fewer", {"fewer": 3}), nodes=2)
    large = job(where, "large", 3)
    where.submit(large)
    where.await_waiting(name_of(large), "topology")
    small = job(where, "small", 2)
    where.submit(small)
    where.await_pods(name_of(small), 2)


def test_a_job_takes_what_another_queue_leaves_idle_and_gives_it_back(made: Made) -> None:
    where = made("lent", Queue("owner", {"lent": 1}), Queue("guest", {"lent": 1}), nodes=2)
    borrowed = job(where, "borrowed", 2, queue="guest")
    where.submit(borrowed)
    where.await_pods(name_of(borrowed), 2)
    own = job(where, "own", 1)
    where.submit(own)
    (pod,) = where.await_pods(name_of(own), 1)
    where.await_no_pods(name_of(borrowed))
    finish(where.api, pod)
    where.await_pods(name_of(borrowed), 2)


def test_a_queue_that_does_not_borrow_neither_takes_nor_lends(made: Made) -> None:
    where = made("kept", Queue("kept", {"kept": 1}, borrow=False), Queue("guest", {"kept": 1}), nodes=2)
    taking = job(where, "taking", 2)
    where.submit(taking)
    where.await_waiting(name_of(taking), "insufficient quota")
    lent = job(where, "lent", 2, queue="guest")
    where.submit(lent)
    where.await_waiting(name_of(lent), "insufficient quota")


def test_a_higher_priority_pre_empts_in_its_own_queue(made: Made) -> None:
    where = made("urgent", Queue("urgent", {"urgent": 1}), Queue("other", {"urgent": 1}), nodes=2)
    where.api.apply(_priority_class("urgent-high", 1000))
    try:
        low, beside = job(where, "low", 1), job(where, "beside", 1, queue="other")
        where.submit(low)
        where.submit(beside)
        where.await_pods(name_of(low), 1)
        where.await_pods(name_of(beside), 1)
        high = job(where, "high", 1, priority="urgent-high")
        where.submit(high)
        where.await_pods(name_of(high), 1)
        where.await_no_pods(name_of(low))
        where.await_pods(name_of(beside), 1)
    finally:
        where.api.delete(KUEUE, "WorkloadPriorityClass", "urgent-high")


@pytest.mark.parametrize("format_", [Format.TRAINJOB, Format.PYTORCHJOB], ids=str)
def test_a_job_without_tolerations_is_placed_on_a_tainted_pool_by_its_queue(
    eks_cluster: Cluster, format_: Format
) -> None:
    """Jobs of ours tolerate the taint themselves; people's own manifests need not."""
    name = f"tainted-{format_}"
    queues = [Queue(name, {name: 2})]
    with job_namespace(eks_cluster.api, name, [pool(name, GPU, 2)], queues=queues) as where:
        taints = [one["key"] for node in where.nodes.documents for one in node["spec"]["taints"]]
        assert taints == [GPU_TAINT] * 2
        fsdp = registry.workload("fsdp")
        document = read(
            RENDERERS[format_](Run.on_type(fsdp, fsdp.reference, GPU, 2, name), where.info(fsdp.name))
        )
        where.submit(_without("tolerations", document))
        for pod in where.await_pods(name_of(document), 2):
            tolerated = {one["key"]: one.get("tolerationSeconds") for one in pod["spec"]["tolerations"]}
            assert tolerated[GPU_TAINT] is None
            assert tolerated["node.kubernetes.io/unreachable"] == UNREACHABLE_SECONDS


def _without(key: str, value: Any) -> Any:
    """Return a document without a key, wherever it is."""
    if isinstance(value, list):
        return [_without(key, one) for one in value]
    if isinstance(value, dict):
        return {name: _without(key, one) for name, one in value.items() if name != key}
    return value


def _priority_class(name: str, value: int) -> Document:
    return {
        "apiVersion": KUEUE,
        "kind": "WorkloadPriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": "of a test",
    }
