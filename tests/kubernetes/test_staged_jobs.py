"""JobSets of runs with stages: admitted as a whole, stages in their order, the run after them, or never."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from catalog.job_queues import Queue
from catalog.pool import Pool
from catalog.reference_types import CPU, GPU
from tests.kubernetes.bare_nodes import finish
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.job_namespace import JobNamespace, job_namespace, pool
from tests.kubernetes.plane.api import Document
from tests.unit.rendering import STAGED, read
from trainforge.eks.queues import API as KUEUE
from workloads.render.jobset import jobset
from workloads.spec import Run

NODES = 2
VERSION, KIND = "jobset.x-k8s.io/v1alpha2", "JobSet"
# That of the sample on accelerators takes devices beside the run.
STAGES = ("download", "tokenize")


@pytest.fixture(scope="module", params=["queues", "no-queues"])
def where(request: pytest.FixtureRequest, eks_cluster: Cluster) -> Iterator[JobNamespace]:
    """Return a namespace with the nodes that the set takes, which are its queue's whole share, and a pool beside.

    With queues these are those of the run and of its stages, without only the run's.
    """
    name = f"staged-{request.param}"
    queued = request.param == "queues"
    pools = [
        pool(f"{name}-gpu", GPU, 1 + 2 * NODES if queued else NODES),
        pool(f"{name}-cpu", CPU, 1 + NODES),
    ]
    queues = [Queue(name, {one.name: one.nodes for one in pools}, borrow=False)]
    with job_namespace(eks_cluster.api, name, pools, queues=queues if queued else ()) as made:
        yield made


def submit(where: JobNamespace, id_: str, *, prepare_on: Pool | None = None) -> Document:
    run = Run(STAGED, STAGED.reference, where.pools[0], NODES, id_)
    stages = {name: run.stage(name, prepare_on) for name in STAGES}
    return where.submit(read(jobset(run, where.info(STAGED.name), stages=stages)))


def pods(where: JobNamespace, job: Document, name: str) -> list[Document]:
    label = "jobset.sigs.k8s.io/replicatedjob-name"
    return [one for one in where.pods(job["metadata"]["name"]) if one["metadata"]["labels"][label] == name]


def await_pods(where: JobNamespace, job: Document, name: str, count: int) -> list[Document]:
    """Wait until a Job of the set has its pods on nodes of their own."""

    def placed() -> list[Document]:
        found = pods(where, job, name)
        return found if len({one["spec"].get("nodeName") for one in found} - {None}) == count else []

    found: list[Document] = where.api.await_(f"{count} pods of {name} are placed", placed, seconds=120)
    return found


def end(where: JobNamespace, found: Sequence[Document], *, succeeded: bool = True) -> None:
    for one in found:
        finish(where.api, one, succeeded=succeeded)


def await_condition(where: JobNamespace, job: Document, name: str) -> Document:
    def there() -> Document | None:
        found = where.api.get(VERSION, KIND, job["metadata"]["name"], namespace=where.name)
        conditions = found.get("status", {}).get("conditions", ())
        return next((one for one in conditions if (one["type"], one["status"]) == (name, "True")), None)

    found: Document = where.api.await_(f"the set is {name}", there, seconds=120)
    return found


def test_stages_run_in_their_order_and_then_the_run(where: JobNamespace) -> None:
    job = submit(where, "order")
    for name, count in {"download": 1, "tokenize": NODES, "train": NODES}.items():
        found = await_pods(where, job, name, count)
        assert {where.nodes.labels(one["spec"]["nodeName"])["trainforge/pool"] for one in found} == {
            where.pools[0].name
        }
        later = {"download": ["tokenize", "train"], "tokenize": ["train"], "train": []}[name]
        assert [pods(where, job, one) for one in later] == [[] for _ in later]
        end(where, found)
    await_condition(where, job, "Completed")
    owners = [one["metadata"]["ownerReferences"][0]["name"] for one in where.objects(KUEUE, "Workload")]
    admitted = [owner for owner in owners if owner.startswith(job["metadata"]["name"])]
    assert admitted == ([job["metadata"]["name"]] if where.name == "staged-queues" else [])


def test_a_stage_goes_to_the_pool_that_is_named_for_it(where: JobNamespace) -> None:
    job = submit(where, "elsewhere", prepare_on=where.pools[1])
    gpus, cpus = where.pools
    for name, (place, count) in {
        "download": (cpus, 1),
        "tokenize": (cpus, NODES),
        "train": (gpus, NODES),
    }.items():
        found = await_pods(where, job, name, count)
        assert name == "train" or pods(where, job, "train") == []
        for one in found:
            assert where.nodes.labels(one["spec"]["nodeName"])["trainforge/pool"] == place.name
            assert one["spec"]["containers"][0]["resources"]["requests"]["cpu"]
        end(where, found)
    await_condition(where, job, "Completed")


def test_a_stage_that_fails_is_started_again_and_the_run_is_not_begun(where: JobNamespace) -> None:
    job = submit(where, "fails")
    first = await_pods(where, job, "download", 1)
    end(where, first, succeeded=False)

    def another() -> bool:
        found = pods(where, job, "download")
        return bool(found) and found[0]["metadata"]["uid"] != first[0]["metadata"]["uid"]

    where.api.await_("the stage has another pod", another, seconds=120)
    assert pods(where, job, "tokenize") == pods(where, job, "train") == []
    where.delete(job)
