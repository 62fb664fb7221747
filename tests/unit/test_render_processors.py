"""A pool's threads per core in what jobs ask for, from the configuration to Batch, pods and Slurm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.cluster_info import ClusterInfo
from catalog.instances import instance
from catalog.kubernetes import huge_pages_mib, pod_memory_mib, pod_millicores
from settings.deployment import Settings
from tests.unit.batch_sample import asked, definition, run_on
from tests.unit.configuration import changed
from workloads.render.pods import resources
from workloads.render.slurm import slurm
from workloads.request import resolve
from workloads.spec import Run

# With EFA, so that huge pages are set aside by the number of processors.
TYPE = "c6i.32xlarge"


def shipped(threads_per_core: int | None) -> Run:
    """Return the run that a configuration ships, with so many threads per core in its pool."""
    pool = {"instance_type": TYPE, "nodes": 2, "threads_per_core": threads_per_core}
    entry = {"workload": "cpu-ddp", "preset": "reference", "pool": "cpu", "clusters": ["hyperpod"]}
    settings = Settings.model_validate(
        changed({"pools.cpu": pool, "hyperpod.pools": ["gpu", "cpu"], "workloads": [entry]})
    )
    [entry] = settings.workloads
    run = resolve(entry.request("hyperpod", settings.pools["cpu"])).run
    assert run
    return run


@pytest.mark.parametrize(("threads", "vcpus"), [(None, 128), (2, 128), (1, 64)])
def test_jobs_ask_for_the_processors_that_nodes_have(threads: int | None, vcpus: int) -> None:
    run = shipped(threads)
    facts = instance(TYPE)
    assert run.vcpus == vcpus
    sample = run_on(TYPE)
    sample = replace(sample, pool=replace(sample.pool, threads_per_core=threads))
    assert asked(definition(sample))["VCPU"] == vcpus
    requests = resources(run)["requests"]
    assert requests["cpu"] == f"{pod_millicores(vcpus)}m"
    assert int(requests["cpu"].removesuffix("m")) < vcpus * 1000
    assert requests["memory"] == f"{pod_memory_mib(facts, vcpus)}Mi"


def test_fewer_processors_set_fewer_huge_pages_aside() -> None:
    facts = instance("p5.4xlarge")
    assert huge_pages_mib(facts, facts.cores) == huge_pages_mib(facts) / 2


def test_slurm_gives_a_job_whole_nodes_whatever_their_threads() -> None:
    """The script has no number of processors: a node with another number would never get the job."""
    info = ClusterInfo.example("hyperpod", ["cpu-ddp"])
    text = slurm(shipped(1), info)
    assert "#SBATCH --exclusive\n" in text
    assert "--cpus" not in text
    assert text == slurm(shipped(None), info)
