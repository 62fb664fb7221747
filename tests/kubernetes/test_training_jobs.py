"""Jobs that run on process nodes, under the real controllers, in the stack's queues: to their end, and through faults.

After each fault the losses are those of a local run, bit for bit. Jobs run beside one another, for most of what a
fault takes is waiting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.kubernetes import capacity, job_faults
from tests.kubernetes.conftest import Cluster
from tests.kubernetes.job_faults import Scene
from tests.kubernetes.process_nodes import ProcessNodes, why_not
from tests.kubernetes.training_jobs import NODES, POOL, lay_images, share
from tests.programs import not_available, require_module
from tests.training.faults import INTERVAL, Losses, Outcome
from tests.training.runs import LocalRun
from workloads.spec import Format

require_module("torch", "make setup-train installs it")

AT_ONCE = 4
"""Jobs that run beside one another: more share two cores, and wait for one another."""

SPARE = 2
"""Each lost node needs another."""

FORMATS = (Format.TRAINJOB, Format.PYTORCHJOB)
# Each format is tried with both workloads, each fault once with each format.
LOST = [("cpu-ddp", job_faults.node_lost, format_) for format_ in FORMATS]
FAULTS = [
    ("cpu-ddp", job_faults.rank_frozen, Format.TRAINJOB),
    ("fsdp", job_faults.rank_frozen, Format.PYTORCHJOB),
    ("fsdp", job_faults.rank_killed, Format.TRAINJOB),
    ("cpu-ddp", job_faults.rank_killed, Format.PYTORCHJOB),
    ("cpu-ddp", job_faults.pod_deleted, Format.TRAINJOB),
    ("fsdp", job_faults.pod_deleted, Format.PYTORCHJOB),
]
# cpu-ddp runs to its end in one start while the API server restarts.
WHOLE = [("fsdp", job_faults.nothing, format_) for format_ in FORMATS]

Fault = Callable[[Scene, Format], Outcome]
Case = tuple[str, Fault, Format]


def _id(case: object) -> str:
    return getattr(case, "__name__", str(case))


@pytest.fixture(scope="module")
def whole(artifacts: Callable[[str], Path]) -> Iterator[Callable[[str], Losses]]:
    """A function that returns the losses of a workload's local run, which it begins when it is first asked."""

    @functools.cache
    def begun(name: str) -> Future[Losses]:
        return executor.submit(_losses, name, artifacts(f"{name}-beside-jobs"))

    with ThreadPoolExecutor(1) as executor:
        yield lambda name: begun(name).result()


def _losses(name: str, folder: Path) -> Losses:
    run = LocalRun(name, "tiny", folder, ranks=NODES)
    assert run.run() == 0, run.log
    return run.losses()


@pytest.fixture(scope="module")
def nodes(eks_cluster: Cluster, artifacts: Callable[[str], Path]) -> Iterator[ProcessNodes]:
    """Process nodes of the stack's pool of processors."""
    if reason := why_not():
        not_available(reason)
    folder = artifacts("job-nodes")
    images = lay_images(folder / "images", "cpu-ddp", "fsdp")
    names = [f"cpu-{number}" for number in range(NODES * AT_ONCE + SPARE)]
    with ProcessNodes(eks_cluster.plane, folder / "nodes", images=images) as running:
        running.start(*(capacity.node(POOL, name) for name in names))
        yield running


@pytest.fixture(scope="module")
def scene(
    eks_cluster: Cluster, nodes: ProcessNodes, whole: Callable[[str], Losses]
) -> Callable[[str], Scene]:
    return lambda name: Scene(eks_cluster, nodes, name, functools.partial(whole, name))


@pytest.fixture(scope="class")
def outcomes(
    eks_cluster: Cluster,
    scene: Callable[[str], Scene],
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[Case], Outcome]]:
    """Start what the tests of this module look at, and return a function that waits for one of them."""
    cases: list[Case] = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.nodeid.startswith(f"{request.node.nodeid}::")
        and hasattr(item, "callspec")
        and "case" in item.callspec.params
    ]
    with share(eks_cluster.api, AT_ONCE), ThreadPoolExecutor(AT_ONCE) as executor:
        running: dict[Case, Future[Outcome]] = {
            case: executor.submit(case[1], scene(case[0]), case[2]) for case in cases
        }
        yield lambda case: running[case].result()
        # The rest of what was begun would outlive the test that failed.
        executor.shutdown(cancel_futures=True)


@pytest.mark.heavy
@pytest.mark.proof("cpu-ddp", "pytorchjob", "executed (real controllers)")
@pytest.mark.proof("cpu-ddp", "trainjob", "executed (real controllers)")
@pytest.mark.proof("fsdp", "pytorchjob", "executed (real controllers)")
@pytest.mark.proof("fsdp", "trainjob", "executed (real controllers)")
class TestBesideOneAnother:
    """Jobs for which no other job matters; the share of the queue ends with them."""

    @pytest.mark.parametrize("case", LOST + FAULTS + WHOLE, ids=lambda case: "-".join(map(_id, case)))
    def test_a_job_runs_to_its_end_whatever_happens(
        self, outcomes: Callable[[Case], Outcome], case: Case
    ) -> None:
        found = outcomes(case)
        print(found.row())
        assert found.equal, found.row()
        assert found.repeated <= 2 * INTERVAL, found.row()


@pytest.mark.heavy
@pytest.mark.parametrize("format_", FORMATS, ids=str)
def test_a_job_gives_its_nodes_to_another_queue_and_resumes(
    scene: Callable[[str], Scene], format_: Format
) -> None:
    found = job_faults.preempted(scene("cpu-ddp"), format_)
    print(found.row())
    assert found.equal, found.row()
    assert found.repeated == 0, found.row()


@pytest.mark.heavy
def test_jobs_run_on_while_the_api_server_restarts(
    eks_cluster: Cluster, scene: Callable[[str], Scene]
) -> None:
    # A program ends with the thread that started it, and this one must stay.
    both, restarted = Barrier(3), Barrier(3)

    def restart() -> None:
        both.wait()
        restarted.wait()

    with share(eks_cluster.api, 2), ThreadPoolExecutor(2) as executor:
        running = [
            executor.submit(job_faults.api_server_restarted, scene("cpu-ddp"), format_, restart)
            for format_ in FORMATS
        ]
        both.wait(600)
        eks_cluster.plane.restart_api_server()
        eks_cluster.operators.start_ended()
        restarted.wait()
        for one in running:
            found = one.result()
            print(found.row())
            assert found.equal, found.row()
            assert found.repeated == 0, found.row()
