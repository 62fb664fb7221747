"""nccom-tests' sbatch script on a real Slurm, on two nodes of two ranks that are processes here.

A stub takes nccom-test's place: it starts a real mpirun on the hosts that it gets, as nccom-test does. Ranks run on
processors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.reference_types import CPU
from tests.batch_nodes import MPI_HINT, image_variables
from tests.nccom_tests_modules import STUB
from tests.programs import not_available, require_program
from tests.slurm.batch_jobs import BatchJob, write_script
from tests.slurm.cluster import SlurmCluster
from workloads.nccom_tests.results import read
from workloads.registry import workload
from workloads.resources import Resources
from workloads.spec import Run

NODES = 2


@pytest.mark.heavy
@pytest.mark.proof("nccom-tests", "slurm", "executed")
def test_mpirun_of_the_tool_reaches_the_node_that_srun_started(artifacts: Callable[[str], Path]) -> None:
    mpirun = require_program("mpirun", MPI_HINT)
    folder = artifacts("slurm-nccom")
    stub = folder / "bin" / "nccom-test"
    stub.parent.mkdir()
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)
    described = replace(
        workload("nccom-tests"), resources=Resources(accelerators=("cpu",), ranks_per_node=NODES)
    )
    run = Run.on_type(described, described.reference, CPU, NODES, "cpu")
    script = write_script(folder, run)
    # Nodes have a machine each; here Open MPI's daemons of one would find the other's files.
    prolog = folder / "prolog.sh"
    image = image_variables() | {"PATH": f"{stub.parent}:{Path(mpirun).parent}:$PATH"}
    lines = [f'echo "export {name}={value}"' for name, value in image.items()]
    temporary = (
        f'mkdir -p "{folder}/tmp/$SLURMD_NODENAME"; echo "export TMPDIR={folder}/tmp/$SLURMD_NODENAME"'
    )
    prolog.write_text("\n".join(["#!/bin/bash", *lines, temporary, ""]), encoding="utf-8")
    prolog.chmod(0o755)
    settings = {"TaskProlog": str(prolog)}
    with SlurmCluster(folder / "cluster", {"cpu": ["n1", "n2"]}, settings=settings) as cluster:
        if "pmix" not in cluster.run("bash", "-c", "srun --mpi=list 2>&1"):
            not_available("Slurm has no PMIx; Debian has its library: apt-get install libpmix2t64")
        job = BatchJob.submit(cluster, script)
        assert job.end() == ("COMPLETED", 0), job.log
    log = job.log
    assert sorted(re.findall(r"neuron-bench (\d) of 2", log)) == ["0", "1"]
    assert f"--nworkers {2 * NODES} --non-interactive all_reduce" in log
    [table] = read(log.splitlines())
    assert (len(table.rows), table.problems()) == (2, [])
