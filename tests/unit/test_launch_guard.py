"""The launch guard on made-up nodes: what is missing is named, signals and exit codes pass, TCP is not accepted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import require_program

RUNTIME = Path(__file__).resolve().parents[2] / "workloads" / "runtime"
GUARD = RUNTIME / "launch_guard.py"
sys.path.insert(0, str(RUNTIME))

import fabric_log  # noqa: E402
import fabric_watch  # noqa: E402
import node_checks  # noqa: E402
from health.devices import efa_devices  # noqa: E402

SKIP = "TRAINFORGE_GUARD_SKIP"
TIMEOUT_SECONDS = 300
"""Only a guard that never returns takes this long."""
# As NCCL 2.30 and aws-ofi-nccl write them; the second pair as in NVIDIA/nccl issues 1597 and 367.
EFA_LINES = """\
gpu-1:79:79 [0] NCCL INFO NET/OFI Selected provider is efa, fabric is efa-direct (found 32 nics)
gpu-1:79:79 [0] NCCL INFO Assigned NET plugin Libfabric to comm
gpu-1:79:79 [0] NCCL INFO Using network Libfabric
"""
SOCKET_LINES = """\
gpu-1:79:79 [0] NCCL INFO NET/Plugin: Could not find: libnccl-net.so. Using internal net plugin.
gpu-1:79:79 [0] NCCL INFO NET/Socket : Using [0]eth0:10.0.0.7<0>
gpu-1:79:79 [0] NCCL INFO Using network Socket
"""


class Node:
    """A made-up node below a folder: EFA devices, of which some are given to the process, and accelerators."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        (root / "dev/infiniband").mkdir(parents=True)
        self.environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

    def efa(self, count: int, given: int | None = None, driver: str = "efa") -> None:
        drivers = self.root / "sys/bus/pci/drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        have = len(list((self.root / "sys/class/infiniband").glob("*")))
        for number in range(have, have + count):
            name = f"rdmap{number}s0"
            device = self.root / "sys/class/infiniband" / name / "device"
            device.mkdir(parents=True)
            (device / "driver").symlink_to(drivers)
            verbs = self.root / "sys/class/infiniband_verbs" / f"uverbs{number}"
            verbs.mkdir(parents=True)
            (verbs / "ibdev").write_text(f"{name}\n", encoding="ascii")
            if given is None or number - have < given:
                (self.root / "dev/infiniband" / f"uverbs{number}").touch()

    def accelerators(self, *names: str) -> None:
        for name in names:
            (self.root / "dev" / name).touch()

    def program(self, name: str, script: str) -> None:
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def words(
        self, *command: str, kind: str = "gpu", accelerators: int = 2, efa: int = 4, **options: str
    ) -> list[str]:
        more = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return [
            *(sys.executable, str(GUARD), f"--kind={kind}", f"--accelerators={accelerators}", f"--efa={efa}"),
            *(f"--logs={self.logs}", f"--root={self.root}", *more),
            *([] if "node_rank" in options else ["--node-rank=0"]),
            *("--", *command),
        ]

    def guard(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        words = self.words(*command, **options)  # type: ignore[arg-type]
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with two GPUs and four EFA interfaces, and no plugin to load."""
    made = Node(tmp_path)
    made.efa(4)
    made.accelerators("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")
    made.environment[SKIP] = "plugin"
    return made


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


SHOWN = 'echo "$NCCL_DEBUG $NCCL_DEBUG_SUBSYS $NCCL_DEBUG_FILE"'


def test_nccl_logs_to_a_file_per_process_unless_set_otherwise(node: Node) -> None:
    assert node.guard("sh", "-c", SHOWN).stdout == f"INFO INIT,NET {node.logs}/%h.%p.log\n"
    node.environment |= {"NCCL_DEBUG": "WARN", "NCCL_DEBUG_FILE": "/dev/stderr"}
    done = node.guard("sh", "-c", SHOWN)
    assert (done.stdout, done.stderr) == ("WARN INIT,NET /dev/stderr\n", "")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_nccl_must_log_its_network_where_efa_is_required(node: Node, rank: str) -> None:
    """On every node: rank 0's guard reads the logs of all."""
    node.environment |= {"NCCL_DEBUG": "warn", "NCCL_DEBUG_SUBSYS": "COLL", "NCCL_DEBUG_FILE": "/dev/stderr"}
    done = node.guard("sh", "-c", f"{SHOWN}; exit 3", fabric="efa", node_rank=rank)
    assert (done.returncode, done.stdout) == (3, f"INFO COLL,INIT,NET {node.logs}/%h.%p.log\n")
    assert ("NCCL_DEBUG is 'INFO', not 'warn'; " in done.stderr) == (rank == "0")
    node.environment[SKIP] = "plugin,fabric"
    done = node.guard("sh", "-c", SHOWN, fabric="efa", node_rank=rank)
    assert (done.stdout, done.stderr) == ("warn COLL /dev/stderr\n", "")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("INIT", "INIT,NET"),
        ("init, net", "init, net"),
        ("ALL", "ALL"),
        ("GRAPH,TUNING", "GRAPH,TUNING,INIT,NET"),
        ("", "INIT,NET"),
        ("^COLL", "^COLL"),
        ("^NET,P2P", "^P2P"),
        ("^INIT", "ALL"),
    ],
)
def test_subsystems_that_nccl_logs(given: str, taken: str, tmp_path: Path) -> None:
    variables, _ = fabric_watch.nccl_environment(tmp_path, {"NCCL_DEBUG_SUBSYS": given}, watched=True)
    assert variables["NCCL_DEBUG_SUBSYS"] == taken
    variables, changed = fabric_watch.nccl_environment(tmp_path, {"NCCL_DEBUG_SUBSYS": given}, watched=False)
    assert (variables["NCCL_DEBUG_SUBSYS"], changed) == (given, [])


def test_a_file_that_the_guard_can_read_stays(tmp_path: Path) -> None:
    given = {"NCCL_DEBUG": "TRACE", "NCCL_DEBUG_FILE": "/fsx/mine/%h.%p"}
    variables, changed = fabric_watch.nccl_environment(tmp_path, given, watched=True)
    assert (variables["NCCL_DEBUG"], variables["NCCL_DEBUG_FILE"], changed) == (
        "TRACE",
        "/fsx/mine/%h.%p",
        [],
    )


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


# Longer than the whole test may take: that the guard returns at all says that it ended the program.
FOR_EVER = "exec sleep 3600"


def script_of(log: str, *, then: str) -> str:
    """Return a program that writes what NCCL would to the file that NCCL would, then continues."""
    return f"""
cat > "$(dirname "$NCCL_DEBUG_FILE")/gpu-1.79.log" <<'END'
{log}END
{then}
"""


def test_a_run_that_fell_to_tcp_is_ended(node: Node) -> None:
    done = node.guard("sh", "-c", script_of(SOCKET_LINES, then=FOR_EVER), fabric="efa")
    assert done.returncode == 76
    assert "NET/Socket : Using [0]eth0:10.0.0.7<0>" in done.stderr
    assert "security group" in done.stderr


def test_tcp_is_accepted_where_it_is_not_watched(node: Node) -> None:
    program = script_of(SOCKET_LINES, then="sleep 2; exit 3")
    assert node.guard("sh", "-c", program).returncode == 3
    assert node.guard("sh", "-c", program, fabric="efa", node_rank="1").returncode == 3
    node.environment[SKIP] = "plugin,fabric"
    assert node.guard("sh", "-c", program, fabric="efa").returncode == 3


def test_a_short_run_over_tcp_is_reported_too(node: Node) -> None:
    assert node.guard("sh", "-c", script_of(SOCKET_LINES, then="exit 0"), fabric="efa").returncode == 76


FIRST_STEP = "echo starting >&2; sleep 1; echo 'step=1 loss=2.5'"


@pytest.mark.parametrize(
    ("log", "seen"),
    [
        (None, "no log "),
        ("gpu-1:79:79 [0] NCCL INFO Bootstrap: Using eth0:10.0.0.7<0>\n", "no network in what "),
        (
            "gpu-1:79:79 [0] NCCL INFO Using network Libfabric\n",
            "'gpu-1:79:79 [0] NCCL INFO Using network Libfabric'",
        ),
    ],
)
@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_first_step_without_a_line_on_efa_ends_the_run(
    node: Node, log: str | None, seen: str, stream: str
) -> None:
    step = f"{{ {FIRST_STEP}; }} >&{stream}; {FOR_EVER}"
    program = script_of(log, then=step) if log else step
    done = node.guard("sh", "-c", program, fabric="efa", progress="step=[0-9]+ loss=")
    assert done.returncode == 76
    assert (done.stdout, done.stderr)[int(stream) - 1].count("step=1 loss=2.5\n") == 1
    assert "does not log that it runs over efa, which this run requires, after its first step" in done.stderr
    assert (
        "Expected in its logs: 'NET/OFI Selected provider is efa' and then 'Using network Libfabric'"
        in done.stderr
    )
    assert f"Seen: {seen}" in done.stderr
    assert "(TRAINFORGE_GUARD_SKIP=fabric runs it anyway)" in done.stderr


def test_a_run_whose_first_step_uses_efa_continues(node: Node) -> None:
    program = script_of(EFA_LINES, then=f"{FIRST_STEP}; sleep {fabric_watch.SETTLE_SECONDS + 3}; exit 9")
    done = node.guard("sh", "-c", program, fabric="efa", progress="step=[0-9]+ loss=")
    assert (done.returncode, done.stdout) == (9, "step=1 loss=2.5\n")


def test_silence_counts_when_the_first_step_is_overdue(node: Node) -> None:
    """Not before there is a log: until then ranks may wait for each other."""
    bootstrap = "gpu-1:79:79 [0] NCCL INFO Bootstrap: Using eth0:10.0.0.7<0>\n"
    program = f"sleep 6; {script_of(bootstrap, then=FOR_EVER)}"
    done = node.guard("sh", "-c", program, fabric="efa", progress="step=", start_seconds="3")
    assert done.returncode == 76
    assert "which this run requires, by the time of its first step" in done.stderr
    assert "no network in what " in done.stderr


def test_a_silent_success_is_reported_and_a_failure_keeps_its_reason(node: Node) -> None:
    assert node.guard("sh", "-c", "exit 0", fabric="efa").returncode == 76
    assert node.guard("sh", "-c", "exit 5", fabric="efa").returncode == 5


def test_silence_is_accepted_where_nothing_was_promised(node: Node) -> None:
    step = f"{FIRST_STEP}; sleep {fabric_watch.SETTLE_SECONDS + 3}; exit 3"
    pattern = "step=[0-9]+ loss="
    assert node.guard("sh", "-c", step, fabric="efa", progress=pattern, nodes="1").returncode == 3
    assert node.guard("sh", "-c", step, fabric="efa", progress=pattern, node_rank="1").returncode == 3
    node.environment[SKIP] = "plugin,fabric"
    assert node.guard("sh", "-c", step, fabric="efa", progress=pattern).returncode == 3


def test_output_is_passed_on_as_it_is_and_at_once(node: Node) -> None:
    long = "x" * 300_000
    program = script_of(
        EFA_LINES, then=f"printf 'no end of line'; read word; printf '%s' {long[:100_000]}; cat; exit 4"
    )
    with subprocess.Popen(
        node.words("sh", "-c", program, fabric="efa", progress="never"),
        env=node.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(14) == b"no end of line"
        rest = b"\xff\x00\r\n" + long.encode()
        out, _ = process.communicate(b"word\n" + rest, timeout=TIMEOUT_SECONDS)
        assert out == long[:100_000].encode() + rest
        assert process.returncode == 4


def test_a_pattern_that_is_none_is_refused(node: Node) -> None:
    done = node.guard("true", fabric="efa", progress="step=(")
    assert done.returncode == 2
    assert "'step=(' is not a regular expression" in done.stderr


def test_efa_is_reported_once_with_nccls_own_line(node: Node) -> None:
    done = node.guard("sh", "-c", script_of(EFA_LINES, then="sleep 3"), fabric="efa")
    assert done.returncode == 0
    assert done.stderr.count("NCCL runs over efa") == 1
    assert "fabric is efa-direct (found 32 nics)" in done.stderr


def test_the_logs_of_an_earlier_start_are_set_aside(node: Node) -> None:
    name = os.uname().nodename.split(".")[0]
    node.logs.mkdir()
    (node.logs / f"{name}.5.log").write_text(SOCKET_LINES, encoding="utf-8")
    # Of a host that is gone: nobody sets it aside, and it must not end this run.
    (node.logs / "gone.6.log").write_text(SOCKET_LINES, encoding="utf-8")
    done = node.guard("sh", "-c", script_of(EFA_LINES, then="sleep 2"), fabric="efa")
    assert done.returncode == 0, done.stderr
    assert (node.logs / "previous" / f"{name}.5.log").is_file()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (
            "a:1:1 [0] NCCL INFO NET/OFI Selected Provider is efa (found 16 nics)",
            fabric_log.Word.EFA_PROVIDER,
        ),
        (
            "a:1:1 [0] NCCL INFO NET/OFI Selected Provider is tcp;ofi_rxm (found 1 nics)",
            fabric_log.Word.OTHER,
        ),
        (
            "a:1:1 [0] NCCL INFO NET/OFI Selected provider is sockets, fabric is x (found 1 nics)",
            fabric_log.Word.OTHER,
        ),
        ("a:1:1 [0] NCCL INFO Using network AWS Libfabric", fabric_log.Word.OFI_NETWORK),
        ("a:1:1 [0] NCCL INFO Using network Libfabric", fabric_log.Word.OFI_NETWORK),
        ("a:1:1 [0] NCCL INFO Using network IB", fabric_log.Word.OTHER),
        ("a:1:1 [0] NCCL INFO Assigned NET plugin Socket to comm", fabric_log.Word.OTHER),
        ("a:1:1 [0] NCCL INFO Bootstrap: Using eth0:10.0.0.7<0>", fabric_log.Word.NOTHING),
        ("a:1:1 [0] NCCL INFO NET/IB : No device found.", fabric_log.Word.NOTHING),
    ],
)
def test_lines_of_nccls_log(line: str, word: fabric_log.Word) -> None:
    assert fabric_log.word(line) is word


def test_logs_are_read_by_pieces_and_not_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = fabric_log.Logs(str(tmp_path / "%h.%p.log"))
    path = tmp_path / "gpu-1.1.log"
    first, rest = EFA_LINES[:50], EFA_LINES[50:]
    path.write_text(first, encoding="utf-8")
    logs.read()
    assert logs.right == ""
    path.write_text(first + rest, encoding="utf-8")
    logs.read()
    assert "efa-direct" in logs.right
    monkeypatch.setattr(fabric_log, "MAX_BYTES", path.stat().st_size)
    with path.open("a", encoding="utf-8") as file:
        file.write(SOCKET_LINES)
    logs.read()
    assert logs.wrong == ""


def test_a_refused_argument_is_told_where_no_progress_is_watched(tmp_path: Path) -> None:
    """torchrun ends with 1 whatever its ranks end with; a program of one's own has no pattern of progress."""
    node = Node(tmp_path)
    node.program("torchrun", "printf '  exitcode  : 2 (pid: 5925)\\n' >&2\nexit 1")
    result = node.guard("torchrun", kind="cpu", accelerators=0, efa=0, nodes="1")
    assert result.returncode == 2
    assert "exitcode  : 2 (pid: 5925)\n" in result.stderr
    assert "launch guard: the program refused its arguments or its environment (exit code 2)" in result.stderr
    assert (node.logs.parent / "final_exit_code").read_text(encoding="ascii").split() == ["2"]
