"""slurmdbd at a database with our parameters: accounts of jobs, TLS or nothing, and a password that changes."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.accounting import FIRST_PASSWORD, AccountedCluster
from tests.slurm.cluster import SlurmError
from trainforge.accounting.parameters import PARAMETERS

WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def slurm(artifacts: Callable[[str], Path]) -> Iterator[AccountedCluster]:
    with AccountedCluster(artifacts("slurm-accounting"), {"cpu": ["n1"]}) as cluster:
        yield cluster


def accounted(slurm: AccountedCluster, name: str) -> str:
    """Run a job of that name, and return what the accounts say of it when it has ended."""
    slurm.run("srun", f"--job-name={name}", "true")
    command = (
        "sacct",
        "--allocations",
        "--noheader",
        "--parsable2",
        f"--name={name}",
        "--format=User,JobName,State",
    )
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        line = slurm.run(*command).strip()
        if line.endswith("COMPLETED") or time.monotonic() > deadline:
            return line
        time.sleep(0.2)


def test_jobs_are_in_the_database(slurm: AccountedCluster) -> None:
    assert accounted(slurm, "counted") == f"{getpass.getuser()}|counted|COMPLETED"
    rows = slurm.sql("SELECT job_name FROM slurm_acct_db.trainforge_job_table")
    assert "counted" in rows.split()


def test_a_connection_without_tls_is_refused(slurm: AccountedCluster) -> None:
    refused = slurm.login("--skip-ssl", password=FIRST_PASSWORD)
    assert refused.returncode != 0
    assert "insecure transport" in refused.stderr
    assert slurm.login(*slurm.over_tls, password=FIRST_PASSWORD).returncode == 0


def test_slurmdbd_finds_the_parameters_that_it_asks_for(slurm: AccountedCluster) -> None:
    for name, value in PARAMETERS.items():
        assert slurm.sql(f"SHOW VARIABLES LIKE '{name}'").split()[-2:] == [name, value]
    log = (slurm.folder / "logs" / "slurmdbd.log").read_text()
    complaints = [line for line in log.splitlines() if "not recommended values" in line]
    # So that its silence says something: of the sizes, which Aurora sets by itself, it does complain here.
    assert complaints
    assert not [line for line in complaints if "innodb_lock_wait_timeout" in line]


def test_a_change_of_password_is_followed(slurm: AccountedCluster, tmp_path: Path) -> None:
    """Rotation as in the guide; the last test, for it leaves another password behind.

    slurmdbd makes a connection for each client: jobs go on being recorded over slurmctld's, and sacct is refused
    until the node has followed.
    """
    slurm.sql("ALTER USER 'slurm'@'%' IDENTIFIED BY 'sec0ndW0rd'")
    assert slurm.login(*slurm.over_tls, password=FIRST_PASSWORD).returncode != 0
    with pytest.raises(SlurmError):
        slurm.run("sacct", "--allocations")
    slurm.run("srun", "--job-name=meanwhile", "true")
    slurm.follow("sec0ndW0rd", tmp_path)
    assert accounted(slurm, "with-new-password").endswith("|with-new-password|COMPLETED")
    command = ("sacct", "--allocations", "--noheader", "--name=meanwhile", "--format=State")
    deadline = time.monotonic() + WAIT_SECONDS
    while slurm.run(*command).split() != ["COMPLETED"]:
        assert time.monotonic() < deadline, "the job that ran meanwhile is not in the accounts"
        time.sleep(0.2)
