"""The Ray cluster of a job, with programs in the place of Ray's: order, exit codes, signals, and a clean end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.processes import naming, wait_for
from tests.programs import RUNTIME

# As `ray start --block`: it listens on the head's port, and ends when it is asked to.
RAY = """
import os, signal, socket, subprocess, sys, time
from ray._private import services
def main():
    with open({noted!r}, "a") as file:
        assert " " not in sys.executable
        file.write(" ".join(sys.argv[1:]) + "\\n")
    print("advice", flush=True)
    if {fails!r}:
        sys.exit("error: no memory")
    assert services.get_node("address", "id") == "known"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if "AGENT" in os.environ:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", os.environ["AGENT"]])
    options = dict(word.partition("=")[::2] for word in sys.argv[1:])
    if "--head" in options:
        server = socket.create_server(("127.0.0.1", int(options["--port"])))
    end = time.monotonic() + {seconds}
    while time.monotonic() < end:
        time.sleep(0.1)
"""

# Ray's own: a node that has not registered yet is an error.
SERVICES = """
asked = []
def get_node(address, node):
    asked.append(node)
    if len(asked) == 1:
        raise RuntimeError("not there")
    return "known"
"""

# What counts the nodes of a cluster: a head whose Ray is not up yet refuses the first program.
COUNTED = """
import os
def init(address, **options):
    path = os.environ["COUNTED"]
    with open(path, "a") as file:
        file.write("asked\\n")
    if os.path.getsize(path) == 6:
        raise ConnectionError
def nodes():
    return [{"Alive": True}, {"Alive": True}]
"""


class Nodes:
    """Nodes of a job on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.noted = folder / "noted.txt"
        # The path of a checkout may have a space, and Ray's workers start by a shell.
        self.programs = folder / "an environment" / "bin"
        self.packages = folder / "packages"
        self.programs.mkdir(parents=True)
        self.python = self.programs / "python3"
        self.python.symlink_to(sys.executable)
        (self.port,) = free_ports(1)
        for name in ("_private", "scripts"):
            (self.packages / "ray" / name).mkdir(parents=True)
        (self.packages / "ray" / "__init__.py").write_text(COUNTED, encoding="utf-8")
        (self.packages / "ray" / "_private" / "services.py").write_text(SERVICES, encoding="utf-8")
        self.ray()

    def ray(self, *, fails: bool = False, seconds: float = 60) -> None:
        """Write the program `ray`."""
        text = RAY.format(noted=str(self.noted), fails=fails, seconds=seconds)
        (self.packages / "ray" / "scripts" / "scripts.py").write_text(text, encoding="utf-8")

    def start(self, node: int, *driver: str, nodes: int = 1, **variables: str) -> subprocess.Popen[str]:
        """Start a node's part."""
        words = [str(self.python), "-m", "ray_nodes", f"--node={node}", f"--nodes={nodes}"]
        words += [f"--head=127.0.0.1:{self.port}", "--ranks-per-node=4", "--gpus=2", "--", *driver]
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        packages = f"{self.packages}{os.pathsep}{RUNTIME}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": packages, **variables}
        return subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_driver_has_the_address_and_its_exit_code_is_the_jobs(nodes: Nodes) -> None:
    code = "import os, sys; print(os.environ['RAY_ADDRESS']); sys.exit(37)"
    process = nodes.start(0, *python(code))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (37, f"127.0.0.1:{nodes.port}\n"), errors
    (words,) = nodes.noted.read_text(encoding="utf-8").splitlines()
    expected = {"start", "--block", "--head", f"--port={nodes.port}", "--num-cpus=4", "--num-gpus=2"}
    assert expected <= set(words.split())
    # A node whose agents have no ports has 15 seconds, however slow it is.
    agents = dict(word.split("=") for word in words.split() if "agent" in word or "metrics" in word)
    assert set(agents) == {
        "--metrics-export-port",
        "--dashboard-agent-grpc-port",
        "--dashboard-agent-listen-port",
        "--runtime-env-agent-port",
    }
    assert len({*agents.values(), str(nodes.port)}) == 5
    # What it prints is advice for other uses.
    assert "advice" not in errors


def test_another_node_ends_well_when_the_head_is_gone(nodes: Nodes) -> None:
    other = nodes.start(1, "true", nodes=2)
    time.sleep(0.5)
    # The driver's node counts the nodes by Ray itself, so that here there is one.
    head = nodes.start(0, *python("import time; time.sleep(2)"))
    assert head.wait(60) == 0
    _, errors = other.communicate(timeout=60)
    assert other.returncode == 0, errors
    assert f"--address=127.0.0.1:{nodes.port}" in nodes.noted.read_text(encoding="utf-8")


def test_what_ray_leaves_behind_ends_with_the_node(nodes: Nodes, tmp_path: Path) -> None:
    """Ray's agents wait for a head that is gone, and Ray does not wait for them."""
    agent = tmp_path / "agent"
    process = nodes.start(0, *python("import time; time.sleep(1)"), AGENT=str(agent))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    wait_for(lambda: naming(agent) == [], seconds=10)


def test_a_node_that_ray_does_not_start_is_tried_three_times(nodes: Nodes, tmp_path: Path) -> None:
    """Ray gives a start thirty seconds, which a busy node may not have."""
    head = nodes.start(0, "sleep", "60")
    while not nodes.noted.exists():
        time.sleep(0.1)
    time.sleep(0.5)
    nodes.ray(fails=True)
    other = nodes.start(1, "true", nodes=2)
    _, errors = other.communicate(timeout=60)
    assert other.returncode == 79
    assert errors.count("and is started again\nadvice\nerror: no memory") == 2
    assert "Ray has ended here with exit code 1, and the head runs" in errors
    head.kill()
    head.communicate()


def test_a_signal_is_for_the_ranks_to_read_and_ends_nothing(nodes: Nodes) -> None:
    code = (
        "import os, sys, time\n"
        "path = os.environ['TRAINFORGE_STOP_FILE']\n"
        "print('begun', flush=True)\n"
        "while not os.path.exists(path): time.sleep(0.05)\n"
        "print(open(path).read()); sys.exit(75)"
    )
    process = nodes.start(0, *python(code))
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGUSR1)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (75, f"{int(signal.SIGUSR1)}\n"), errors


def test_ray_that_does_not_start_is_final_and_says_why(nodes: Nodes) -> None:
    nodes.ray(fails=True)
    process = nodes.start(0, "true")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 69
    assert f"the head of Ray did not start on port {nodes.port}" in errors
    assert "error: no memory" in errors


def test_the_driver_waits_for_a_head_that_is_slow(nodes: Nodes, tmp_path: Path) -> None:
    """Its port takes connections before the rest of Ray is there."""
    counted = tmp_path / "counted"
    process = nodes.start(0, "true", nodes=2, COUNTED=str(counted))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert counted.read_text(encoding="utf-8").split() == ["asked", "asked"]


def test_a_head_that_ends_before_the_others_join_says_why(nodes: Nodes, tmp_path: Path) -> None:
    nodes.ray(seconds=1)
    (nodes.packages / "ray" / "__init__.py").write_text(
        "import time\ndef init(*_, **__): time.sleep(60)\n", "utf-8"
    )
    process = nodes.start(0, "true", nodes=2)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 79
    assert "the head of Ray has ended before all of 2 nodes joined\nadvice" in errors


def test_a_head_that_ends_takes_the_driver_along(nodes: Nodes) -> None:
    nodes.ray(seconds=2)
    process = nodes.start(0, "sleep", "60")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 79
    assert "the head of Ray has ended before the driver" in errors


def test_a_node_without_a_head_gives_up(nodes: Nodes) -> None:
    process = nodes.start(1, "true", nodes=2, TRAINFORGE_RENDEZVOUS_SECONDS="1")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 79
    assert f"node 1: no head of Ray answers at 127.0.0.1:{nodes.port}" in errors


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda nodes: shutil.rmtree(nodes.packages / "ray"), 127, "has no package 'ray'"),
        (lambda nodes: None, 2, "TRAINFORGE_RENDEZVOUS_SECONDS is 'soon'"),
    ],
    ids=["no-ray", "no-number"],
)
def test_what_is_wrong_is_named(nodes: Nodes, change: Callable[[Nodes], None], code: int, words: str) -> None:
    change(nodes)
    variables = {"TRAINFORGE_RENDEZVOUS_SECONDS": "soon"} if code == 2 else {}
    process = nodes.start(0, "true", **variables)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert words in errors


def test_an_address_has_a_port(nodes: Nodes) -> None:
    process = subprocess.run(
        [
            *python("import ray_nodes; ray_nodes.main()"),
            *("--node=0", "--nodes=1", "--head=here", "--", "true"),
        ],
        env={**os.environ, "PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert "'here' is not HOST:PORT" in process.stderr
