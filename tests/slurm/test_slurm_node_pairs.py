"""node-pairs' sbatch script on a real Slurm: four nodes that are processes here, of which one is made slow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.reference_types import CPU
from tests.programs import require_module
from tests.slurm.batch_jobs import BatchJob, write_script
from tests.slurm.cluster import SlurmCluster
from workloads.registry import workload
from workloads.runtime.exit_codes import MISSED
from workloads.spec import Run

require_module("torch", "make setup-train installs it")

NODES = ["n1", "n2", "n3", "n4"]
# Python imports it at each start, on the slow node only: its collectives wait.
SLOW = """\
import os
if os.environ.get("SLURMD_NODENAME") == "n3" and "LOCAL_RANK" in os.environ:
    import time
    import torch.distributed as dist
    fast = dist.all_reduce
    def all_reduce(*values, **options):
        begun = time.monotonic()
        found = fast(*values, **options)
        # By as much as all collectives of a busy machine take.
        time.sleep(max(0.3, 5 * (time.monotonic() - begun)))
        return found
    dist.all_reduce = all_reduce
"""


@pytest.mark.heavy
@pytest.mark.proof("node-pairs", "slurm", "executed")
def test_the_slow_node_is_named_and_fails_the_run(artifacts: Callable[[str], Path]) -> None:
    folder = artifacts("slurm-node-pairs")
    described = workload("node-pairs")
    script = write_script(folder, Run.on_type(described, described.presets["cpu"], CPU, len(NODES), "cpu"))
    slow = folder / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(SLOW, encoding="utf-8")
    text = script.read_text(encoding="utf-8")
    begin = "export PYTHONPATH="
    assert begin in text
    script.write_text(text.replace(begin, f'{begin}"{slow}":', 1), encoding="utf-8")
    with SlurmCluster(folder / "cluster", {"cpu": NODES}) as cluster:
        job = BatchJob.submit(cluster, script)
        ended = job.end()
    assert ended == ("FAILED", MISSED), job.log
    assert "slow node: n3" in job.log
    [results] = folder.glob("shared/runs/node-pairs/*/pairs.json")
    found = json.loads(results.read_text(encoding="utf-8"))
    assert (found["slow"], found["undecided"], found["slow_pairs"]) == (["n3"], [], [])
    assert [len(each) for each in found["rounds"]] == [2, 2]
