"""The launch guard on the fabric: what NCCL is told to log, and runs that do not use EFA are ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import fabric_log
import fabric_watch
import pytest

from tests.unit.guarded_node import SKIP, TIMEOUT_SECONDS, Node

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
SHOWN = 'echo "$NCCL_DEBUG $NCCL_DEBUG_SUBSYS $NCCL_DEBUG_FILE"'


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node.with_gpus(tmp_path)


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
