"""The launch guard on made-up nodes: what is missing is named, signals and exit codes pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import launch_guard
import node_checks
import pytest
from health.devices import efa_devices

from tests.programs import require_program
from tests.unit.guarded_node import SKIP, TIMEOUT_SECONDS, Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node.with_gpus(tmp_path)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Path]:
    """Return a function that compiles a plugin library with a text in it."""
    compiler = require_program("gcc", "the fake plugin is compiled with it")
    source = tmp_path_factory.mktemp("plugin") / "plugin.c"

    def compile_(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(f'const char *trainforge_text = "{text}";\n', encoding="ascii")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)
        return path

    return compile_


def test_a_whole_node_runs_the_command_and_gives_its_exit_code(node: Node) -> None:
    assert node.guard("sh", "-c", "exit 0").returncode == 0
    done = node.guard("sh", "-c", "echo trained; exit 7")
    assert (done.returncode, done.stdout) == (7, "trained\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, 137), (signal.SIGSEGV, 139)])
def test_a_command_ended_by_a_signal_is_reported_as_a_shell_does(node: Node, number: int, code: int) -> None:
    assert node.guard("sh", "-c", f"kill -{number} $$").returncode == code


def test_everything_missing_is_reported_at_once_and_nothing_runs(tmp_path: Path) -> None:
    bare = Node(tmp_path)
    done = bare.guard("touch", str(tmp_path / "ran"), accelerators=8, efa=32)
    assert done.returncode == 69
    assert not (tmp_path / "ran").exists()
    assert "3 things are missing" in done.stderr
    assert "8 GPUs expected, 0 in /dev" in done.stderr
    assert "nvidia.com/gpu: 8" in done.stderr
    assert "32 EFA interfaces expected, the node has 0" in done.stderr
    assert "launch template" in done.stderr
    assert "libnccl-net.so: cannot open shared object file" in done.stderr.replace(
        "libnccl-net.so: libnccl", "libnccl"
    )
    assert "the image lacks the EFA layer" in done.stderr
    assert "Traceback" not in done.stderr


def test_interfaces_missing_from_the_container_are_reported_separately(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.efa(4, given=1)
    [told] = node_checks.missing(
        "gpu", 0, 4, skip=frozenset({"plugin"}), root=tmp_path, environment={"PATH": ""}
    )
    assert "the node has 4, and 1 of them are given" in told
    assert "vpc.amazonaws.com/efa: 4" in told


def test_only_devices_of_the_efa_driver_count(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.efa(2, driver="mlx5_core")
    node.efa(1)
    assert efa_devices(tmp_path) == ["rdmap2s0"]
    device = tmp_path / "sys/class/infiniband/other/device"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1d0f\n", encoding="ascii")
    (device / "device").write_text("0xefa2\n", encoding="ascii")
    assert efa_devices(tmp_path) == ["other", "rdmap2s0"]
    (device / "device").write_text("0xec20\n", encoding="ascii")
    assert efa_devices(tmp_path) == ["rdmap2s0"]


def test_a_gpu_that_the_driver_lost_is_missed(node: Node) -> None:
    node.program("nvidia-smi", 'echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"')
    done = node.guard("true")
    assert done.returncode == 69
    assert "2 GPUs expected, nvidia-smi lists 1" in done.stderr
    node.program("nvidia-smi", 'echo "GPU 0: a"; echo "GPU 1: b"')
    assert node.guard("true").returncode == 0


def test_libfabric_without_the_efa_provider_is_missed(node: Node) -> None:
    node.program("fi_info", 'echo "fi_getinfo: -61 (No data available)" >&2; exit 61')
    done = node.guard("true")
    assert done.returncode == 69
    assert "fi_info ends with 61" in done.stderr
    node.program("fi_info", 'printf "provider: efa\\n    fabric: efa\\n"')
    assert node.guard("true").returncode == 0


def test_neuron_devices_are_counted_and_no_plugin_is_asked_for(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.efa(8)
    node.accelerators(*(f"neuron{number}" for number in range(16)))
    assert node.guard("true", kind="neuron", accelerators=16, efa=8).returncode == 0
    done = node.guard("true", kind="neuron", accelerators=17, efa=8)
    assert done.returncode == 69
    assert "17 Neuron devices expected, 16 in /dev" in done.stderr


def test_the_plugin_must_load_and_be_that_of_ofi(node: Node, library: Callable[[Path, str], Path]) -> None:
    del node.environment[SKIP]
    folder = node.root / "opt/amazon/ofi-nccl/lib"
    library(folder / "libnccl-net-ofi.so", "NET/OFI Initializing aws-ofi-nccl")
    done = node.guard("true")
    assert done.returncode == 69
    assert f"the plugin is '{folder}/libnccl-net-ofi.so'" in done.stderr
    assert "NCCL_NET_PLUGIN=ofi" in done.stderr

    node.environment |= {"LD_LIBRARY_PATH": str(folder), "NCCL_NET_PLUGIN": "ofi"}
    assert node.guard("true").returncode == 0

    node.environment["NCCL_NET_PLUGIN"] = "none"
    assert "NCCL_NET_PLUGIN is 'none'" in node.guard("true").stderr

    other = node.root / "opt/hpcx/lib"
    library(other / "libnccl-net.so", "NET/IB of another maker")
    del node.environment["NCCL_NET_PLUGIN"]
    node.environment["LD_LIBRARY_PATH"] = f"{other}:{folder}"
    done = node.guard("true")
    assert done.returncode == 69
    assert f"leads to '{other}/libnccl-net.so', which is another network's plugin" in done.stderr

    (folder / "libnccl-net.so").symlink_to("libnccl-net-ofi.so")
    node.environment["LD_LIBRARY_PATH"] = str(folder)
    assert node.guard("true").returncode == 0


def test_checks_are_left_out_by_name_and_unknown_names_are_refused(tmp_path: Path) -> None:
    bare = Node(tmp_path)
    bare.environment[SKIP] = "accelerators, efa,plugin"
    assert bare.guard("true").returncode == 0
    bare.environment[SKIP] = "efa,network"
    done = bare.guard("true")
    assert done.returncode == 2
    assert "names 'network'; the checks are accelerators, efa, plugin, fabric, health, stall" in done.stderr


def test_a_wrong_command_line_is_reported_without_a_traceback(node: Node) -> None:
    done = node.guard("true", node_rank="one")
    assert done.returncode == 2
    assert "'one' is not a whole number from 0" in done.stderr
    done = node.guard("no-such-program")
    assert done.returncode == 127
    assert "'no-such-program' cannot be started" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_reach_the_command(node: Node, number: signal.Signals) -> None:
    script = f"trap 'echo heard; exit 9' {number.name.removeprefix('SIG')}; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        node.words("sh", "-c", script), env=node.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "heard\n"
        assert process.wait(timeout=TIMEOUT_SECONDS) == 9


# Passes a signal on, and kills its rank before that has saved: torchrun does so after 30 seconds.
HASTY_LAUNCHER = """
import os, signal, subprocess, sys
rank = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env={**os.environ, "RANK": "0", "LOCAL_RANK": "0"},
                        start_new_session=True)
def stop(number, frame):
    print("launcher told", flush=True)
    rank.kill()
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, stop)
sys.exit(rank.wait() % 256)
"""
SAVING_RANK = """
import signal, sys, time
def save(number, frame):
    print("rank told", flush=True)
    time.sleep(1)
    print("saved", flush=True)
    sys.exit(75)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, save)
print("ready", flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_rank_has_the_time_to_save_that_its_launcher_would_not_give(
    node: Node, number: signal.Signals
) -> None:
    with subprocess.Popen(
        node.words(sys.executable, "-c", HASTY_LAUNCHER, SAVING_RANK),
        env=node.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "rank told\nsaved\n"
        assert process.wait(timeout=TIMEOUT_SECONDS) == 75


def test_a_launcher_gets_an_option_when_the_run_gets_it_twice(node: Node) -> None:
    with subprocess.Popen(
        node.words(sys.executable, "-c", HASTY_LAUNCHER, SAVING_RANK.replace("sleep(1)", "sleep(3600)")),
        env=node.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "rank told\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "launcher told\n"
        assert process.wait(timeout=TIMEOUT_SECONDS) != 0


def test_a_rank_that_would_die_of_the_signal_is_left_to_its_launcher(node: Node) -> None:
    with subprocess.Popen(
        node.words(
            sys.executable, "-c", HASTY_LAUNCHER, "import time; print('ready', flush=True); time.sleep(3600)"
        ),
        env=node.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "launcher told\n"
        assert process.wait(timeout=TIMEOUT_SECONDS) != 0


def test_a_pattern_that_is_none_is_refused(node: Node) -> None:
    done = node.guard("true", fabric="efa", progress="step=(")
    assert done.returncode == 2
    assert "'step=(' is not a regular expression" in done.stderr


def test_a_refused_argument_is_told_where_no_progress_is_watched(tmp_path: Path) -> None:
    """torchrun ends with 1 whatever its ranks end with; a program of one's own has no pattern of progress."""
    node = Node(tmp_path)
    node.program("torchrun", "printf '  exitcode  : 2 (pid: 5925)\\n' >&2\nexit 1")
    result = node.guard("torchrun", kind="cpu", accelerators=0, efa=0, nodes="1")
    assert result.returncode == 2
    assert "exitcode  : 2 (pid: 5925)\n" in result.stderr
    assert "launch guard: the program refused its arguments or its environment (exit code 2)" in result.stderr
    assert (node.logs.parent / "final_exit_code").read_text(encoding="ascii").split() == ["2"]


@pytest.mark.parametrize(("code", "told"), [(69, True), (1, False)])
def test_torchrun_s_own_traceback_is_left_out_where_the_ranks_have_told_their_reason(
    tmp_path: Path, code: int, told: bool
) -> None:
    node = Node(tmp_path)
    words = f"""Traceback (most recent call last):
  File "{tmp_path}/bin/torchrun", line 8, in <module>
  exitcode  : {code} (pid: 5925)
"""
    (tmp_path / "words").write_text(words, encoding="utf-8")
    node.program("torchrun", f"echo 'error: a check failed' >&2\ncat '{tmp_path}/words' >&2\nexit 1")
    result = node.guard("torchrun", kind="cpu", accelerators=0, efa=0, nodes="1")
    assert result.stderr == "error: a check failed\n" + ("" if told else words)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURMD_NODENAME": "n1", "TRAINFORGE_NODE_NAME": "other"}, "n1"),
        ({"TRAINFORGE_NODE_NAME": "ip-10-1-2-3.ec2.internal"}, "ip-10-1-2-3.ec2.internal"),
        ({"AWS_BATCH_JOB_ID": "1234"}, "batch-host"),
        ({}, os.uname().nodename),
    ],
    ids=["slurm", "kubernetes", "batch", "local"],
)
def test_the_node_has_the_name_that_its_metrics_have(
    tmp_path: Path, variables: dict[str, str], expected: str
) -> None:
    (tmp_path / "scratch/.trainforge").mkdir(parents=True)
    (tmp_path / "scratch/.trainforge/node").write_text("batch-host\n", encoding="utf-8")
    assert launch_guard.node_name(variables, tmp_path) == expected
