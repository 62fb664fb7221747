"""`trainforge launch` on a real Slurm: the job that it submits runs, and its log is where it says."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.site import Mount, Site
from tests.conftest import ROOT
from tests.programs import require_module
from tests.slurm.cluster import SlurmCluster

require_module("torch", "make setup-train installs it")

DEADLINE_SECONDS = 120


@pytest.fixture
def cluster(artifacts: Callable[[str], Path]) -> Iterator[SlurmCluster]:
    with SlurmCluster(artifacts("slurm-launch"), {"cpu": ["n1", "n2"]}) as running:
        yield running


def test_launch_on_a_login_node(cluster: SlurmCluster, tmp_path: Path) -> None:
    site = Site(
        deployment="test",
        cluster="parallelcluster",
        region="us-west-2",
        cluster_name="test",
        mounts=(Mount(str(tmp_path / "shared"), "lustre", ""),),
        partitions={"cpu": "cpu"},
        virtual_environment=sys.prefix,
        launch_folder=str(ROOT / "workloads"),
    )
    (tmp_path / "site.json").write_text(site.to_json(), encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cli.main import main; main()"
    where = ("--on", "parallelcluster", "--site", "site.json", "--pool", "cpu")
    words = ("launch", "cpu-ddp", *where, "--preset", "tiny", "--nodes", "2")
    said = cluster.run(sys.executable, "-c", code, *words, directory=tmp_path)
    job = re.search(r"^submitted job (\d+)$", said, re.MULTILINE)
    log = re.search(r"^  tail -F (.+)$", said, re.MULTILINE)
    assert job, said
    assert log, said
    assert f"  squeue --jobs {job[1]}\n" in said
    deadline = time.monotonic() + DEADLINE_SECONDS
    while cluster.run("squeue", "--noheader", "--jobs", job[1], check=False).strip():
        assert time.monotonic() < deadline, Path(log[1]).read_text(encoding="utf-8")
        time.sleep(0.5)
    text = Path(log[1]).read_text(encoding="utf-8")
    assert "done after step 60" in text
