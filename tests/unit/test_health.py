"""The health checks' command: verdicts, exit codes, timeouts, and what must never be a pass."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import rank_processes
from health import disks, instance_type, programs
from health.command import parser
from health.report import examine
from health.session import Options, Session
from health.severity import Severity, severity_of, worst
from health.suites import probe_names
from health.xid import events

from catalog.instances import INSTANCES
from catalog.xids import xids
from tests.programs import RUNTIME, require_program
from tests.unit.health_node import CPU, GPU, NEURON, HealthNode, found
from tests.unit.test_health_faults import gpu, judged, reduced, xid
from workloads import health_data, health_xids


@pytest.mark.parametrize("kind", [GPU, NEURON, CPU])
def test_a_healthy_node_passes_every_suite(tmp_path: Path, kind: str) -> None:
    report = HealthNode(tmp_path, kind).run(suite="deep")
    assert (report["severity"], report["exit_code"], report["reason"]) == ("ok", 0, "")
    assert report["instance_type"] == kind
    by_name = {probe["probe"]: probe for probe in report["probes"]}
    for probe in by_name.values():
        assert bool(probe["skipped"]) == (probe["status"] == "skipped")
    if kind == GPU:
        assert by_name["gpu-inventory"]["ran"][0].split()[1].startswith("--query-gpu=index,uuid")
        assert by_name["neuron"]["skipped"] == f"'{GPU}' has no Neuron device"


def test_the_worst_finding_counts_and_no_finding_hides_another(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    for damage in (xid(31), gpu(0, rows__failure="Yes"), gpu(2, rows__pending="Yes")):
        damage(node)
    report = node.run()
    assert report["severity"] == "replace"
    assert sorted(found(report)) == [
        ("row-remap-failure", "replace"),
        ("row-remap-pending", "reset"),
        ("xid", "monitor"),
    ]
    assert report["reason"] == "health replace: row-remap-failure GPU 00000000:53:00.0: yes"
    assert report["exit_code"] == 1


def test_a_finding_to_watch_stays_in_the_report_and_fails_nothing(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    xid(63)(node)
    report = node.run()
    assert (report["severity"], report["exit_code"]) == ("monitor", 0)
    assert found(report) == [("xid", "monitor")]


@pytest.mark.parametrize("said", ["x9.48xlarge", "denied destination", ""])
def test_an_unknown_type_is_an_error_and_never_a_pass(tmp_path: Path, said: str) -> None:
    """Whatever the firmware says: a page of a proxy is no type, and zeros of an unknown type compare with nothing."""
    node = HealthNode(tmp_path)
    node.write("sys/devices/virtual/dmi/id/product_name", f"{said}\n")
    report = examine("light", Options(), root=node.root, environment={"PATH": str(node.bin)}, metadata="")
    assert report.severity is Severity.ERROR
    assert report.exit_code == 3
    [finding] = report.results[0].findings
    assert finding.check == "instance-type"


def test_what_somebody_gives_goes_before_what_the_node_says(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    assert node.run("--instance-type", f"ml.{GPU}")["instance_type"] == GPU
    done = node.command("--json", "--instance-type", CPU)
    assert json.loads(done.stdout)["instance_type"] == CPU
    done = node.command("--json", TRAINFORGE_INSTANCE_TYPE=NEURON)
    report = json.loads(done.stdout)
    assert report["instance_type"] == NEURON
    assert ("probe", "error") in found(report), "neuron-ls is missed"


class Metadata(BaseHTTPRequestHandler):
    """An instance metadata service with tokens, or something else at its address."""

    status, answer = 200, GPU

    def do_PUT(self) -> None:
        self._send(200, "token")

    def do_GET(self) -> None:
        self._send(
            self.status if self.headers.get("X-aws-ec2-metadata-token") == "token" else 401, self.answer
        )

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/latest"
        server.shutdown()
        thread.join()


def test_the_metadata_service_is_asked_with_a_token(
    metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instance_type.find(tmp_path, {}, metadata) == (GPU, "the instance metadata service")
    monkeypatch.setattr(Metadata, "answer", "<html>resolve_deny: denied destination</html>")
    assert instance_type.find(tmp_path, {}, metadata) == ("", "")
    monkeypatch.setattr(Metadata, "answer", GPU)
    monkeypatch.setattr(Metadata, "status", 403)
    assert instance_type.find(tmp_path, {}, metadata) == ("", "")


def test_a_driver_that_hangs_is_a_finding_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("health.nvidia_smi.SECONDS", 0.5)
    monkeypatch.setattr("health.nvidia_smi.ask.__defaults__", (0.5,))
    monkeypatch.setattr("health.nvidia_smi.ask.__kwdefaults__", {"seconds": 0.5})
    node = HealthNode(tmp_path)
    node.hangs.add("nvidia-smi")
    report = judged(node, "gpu-inventory")
    [finding] = report.results[1].findings
    assert (finding.check, finding.severity) == ("gpu-answers", Severity.REBOOT)


def test_a_program_that_the_suite_has_no_time_for_is_no_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from health.suites import SUITES, Suite

    monkeypatch.setitem(SUITES, "light", Suite("light", SUITES["light"].probes, 0.5, 0))
    node = HealthNode(tmp_path)
    node.hangs.add("nvidia-smi")
    report = judged(node, "gpu-inventory", "light")
    [finding] = report.results[1].findings
    assert (finding.check, finding.severity) == ("probe", Severity.ERROR)
    assert "the time of the suite was used up" in finding.value


def test_the_output_of_programs_needs_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    assert programs.run(["/bin/echo", "8 GPUs"], 30, {}).output == "8 GPUs\n"


def test_logical_cores_of_trainium2_are_no_missing_cores(tmp_path: Path) -> None:
    node = HealthNode(tmp_path, "trn2.48xlarge")
    assert {(one["nc_count"], one["logical_neuroncore_config"]) for one in node.neuron} == {(4, 2)}
    assert judged(node, "neuron").severity is Severity.OK
    node.neuron[3]["nc_count"] = 3
    del node.answers["neuron-ls"]
    [finding] = [finding for result in judged(node, "neuron").results for finding in result.findings]
    assert (finding.check, finding.where, finding.value) == ("neuron-count", "neuron3", "6 cores")


def test_dcgm_expects_the_lanes_that_g6_has(tmp_path: Path) -> None:
    [result] = [
        one for one in judged(HealthNode(tmp_path, "g6.8xlarge"), "dcgm").results if one.probe == "dcgm"
    ]
    assert "h2d_d2h_single_pinned.min_pci_width=8" in result.ran[0]


@pytest.mark.parametrize(("level", "least"), [(2, 900), (3, 3600), (4, 9000)])
def test_a_level_of_dcgm_has_its_time_in_every_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int, least: int
) -> None:
    given: list[float] = []
    run = programs.run

    def timed(words: list[str], seconds: float, environment: dict[str, str]) -> programs.Ran:
        given.append(seconds)
        return run(words, seconds, environment)

    monkeypatch.setattr(programs, "run", timed)
    node = HealthNode(tmp_path)
    node._write_programs()
    skip = frozenset(probe_names()) - {"dcgm"}
    options = Options(dcgm_level=level)
    examine("standard", options, skip=skip, root=node.root, environment=node.environment, metadata="")
    assert given == [least]


def test_probes_that_the_time_of_a_suite_does_not_reach_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = HealthNode(tmp_path)
    node._write_programs()
    from health.suites import SUITES, Suite

    monkeypatch.setitem(SUITES, "light", Suite("light", SUITES["light"].probes, -1.0, 0))
    report = examine("light", Options(), root=node.root, environment=node.environment, metadata="")
    assert report.severity is Severity.ERROR
    assert all("time of the suite" in result.findings[0].value for result in report.results)


def test_a_program_is_killed_with_its_children(tmp_path: Path) -> None:
    script = tmp_path / "hang"
    script.write_text("#!/bin/sh\nsleep 600 &\necho $!\nwait\n")
    script.chmod(0o755)
    seconds = 0.5
    # A busy machine may not have started the child by then.
    while not (ran := programs.run([str(script)], seconds, {"PATH": "/usr/bin:/bin"})).output:
        seconds *= 2
    assert ran.timed_out
    deadline = time.monotonic() + 30
    # In the end it is gone, or a zombie that nobody has waited for.
    while not rank_processes.state(int(ran.output)).startswith(("gone", "Z")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_required_probe_may_not_be_skipped(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    node.answers.pop("dcgmi")
    assert judged(node, "dcgm").severity is Severity.OK
    report = judged(node, "dcgm", required=frozenset({"dcgm"}))
    assert report.severity is Severity.ERROR
    [finding] = [finding for result in report.results for finding in result.findings]
    assert "skipped: dcgmi is absent" in finding.value


def test_old_lines_of_the_kernel_log_are_left_out(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    old, new = (
        "[ 1000.0] NVRM: Xid (PCI:0000:53:00): 48, old",
        "[99990.0] NVRM: Xid (PCI:0000:53:00): 79, new",
    )
    node.answers |= {"journalctl": {"": (1, "no journal")}, "dmesg": {"": (0, f"{old}\n{new}\n")}}
    [finding] = judged(node, "kernel-log").results[2].findings
    assert "Xid 79" in finding.value


def test_a_kernel_log_that_nobody_may_read_is_skipped_with_the_reason(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    node.answers |= {"journalctl": {"": (1, "no journal")}, "dmesg": {"": (1, "Operation not permitted")}}
    [result] = [one for one in judged(node, "kernel-log").results if one.probe == "kernel-log"]
    assert result.skipped == (
        "the kernel log cannot be read here (journalctl ended with 1: no journal; dmesg ended with 1: Operation "
        "not permitted)"
    )


def test_a_journal_without_the_systems_messages_is_no_empty_log(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    hint = "Hint: You are currently not seeing messages from other users and the system.\n"
    # 256 is an exit status of 0, with the text on standard error.
    node.answers |= {"journalctl": {"": (256, hint)}, "dmesg": {"": (1, "Operation not permitted")}}
    [result] = [one for one in judged(node, "kernel-log").results if one.probe == "kernel-log"]
    assert "journalctl says 'not seeing messages'" in result.skipped


def test_one_event_in_many_lines_is_one_finding(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    for _ in range(3):
        xid(31)(node)
    [finding] = judged(node, "kernel-log").results[2].findings
    assert "(3 lines)" in finding.value


def test_fewer_interfaces_may_be_expected(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    node.on_bus = 4
    assert ("efa-pci", "isolate") in found(node.run())
    report = judged(node, "efa", efa=4)
    assert "efa-pci" not in {each.check for result in report.results for each in result.findings}
    [result] = [one for one in judged(node, "efa", efa=0).results if one.probe == "efa"]
    assert result.skipped == "no EFA interface is expected"


@pytest.mark.parametrize(
    ("used", "severity"), [(50, Severity.OK), (95, Severity.MONITOR), (99, Severity.ISOLATE)]
)
@pytest.mark.parametrize("what", ["bytes", "files"])
def test_full_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: int, severity: Severity, what: str
) -> None:
    sizes = [100, 50, 50, 100, 50]
    left = 100 - used
    sizes = [100, left, left, 100, 50] if what == "bytes" else [100, 50, 50, 100, left]
    monkeypatch.setattr(disks, "_ASK", f"print({sizes})")
    report = judged(HealthNode(tmp_path, CPU), "disks")
    assert report.severity is severity
    assert all(f"of {what} used" in each.value for result in report.results for each in result.findings)


def test_a_shared_file_system_that_does_not_answer_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "_ASK", "import time; time.sleep(600)")
    monkeypatch.setattr(disks, "_SECONDS", 0.5)
    node = HealthNode(tmp_path, CPU)
    # None that has to answer in this short time.
    node.write("proc/mounts", "rootfs / rootfs rw 0 0\n")
    node.mount("fs@tcp:/a /fsx lustre rw 0 0")
    report = judged(node, "disks", mounts=("/fsx", "/home"))
    findings = {each.where: each for result in report.results for each in result.findings}
    assert "no answer within" in findings["/fsx"].value
    # Every node of a cluster waits for such a server: it is no reason to reboot them all.
    assert findings["/fsx"].severity is Severity.ERROR
    assert findings["/home"].value == "not mounted"
    assert findings["/home"].severity is Severity.REBOOT


def test_bandwidth_has_a_threshold_only_where_one_is_given(tmp_path: Path) -> None:
    node = HealthNode(tmp_path)
    reduced("# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 300.0\n")(node)
    report = judged(node, "all-reduce")
    [finding] = report.results[-2].findings
    assert (finding.severity, finding.expected) == (Severity.OK, "no threshold: --min-busbw is not given")
    assert judged(node, "all-reduce", min_busbw=400.0).severity is Severity.MONITOR
    assert judged(node, "all-reduce", min_busbw=200.0).severity is Severity.OK


def test_the_json_goes_to_a_file_too_and_people_read_a_table(tmp_path: Path) -> None:
    node = HealthNode(tmp_path / "node")
    gpu(3, rows__failure="Yes")(node)
    done = node.command("--output", str(tmp_path / "out" / "report.json"))
    assert done.returncode == 1
    assert json.loads((tmp_path / "out" / "report.json").read_text())["severity"] == "replace"
    assert "replace row-remap-failure at GPU 00000000:56:00.0: yes; expected no; next: replace" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("verdict: replace (")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--suite", "huge"), "invalid choice: 'huge'"),
        (("--skip", "gpus"), "'gpus' is no probe; the probes are gpu-inventory"),
        (("--efa", "-1"), "'-1' is not a whole number from 0"),
        (("--log-minutes", "soon"), "'soon' is not a whole number from 0"),
    ],
)
def test_a_wrong_command_line_ends_with_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = HealthNode(tmp_path, CPU).command(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_severities_are_ordered_and_named() -> None:
    assert worst([]) is Severity.OK
    assert [severity_of(each.word) for each in Severity] == list(Severity)
    assert Severity.MONITOR < Severity.ERROR < Severity.RESET < Severity.REPLACE
    with pytest.raises(ValueError, match="'warn' is none of ok, monitor"):
        severity_of("warn")


def test_the_codes_of_xids_are_those_of_the_catalog() -> None:
    assert health_xids.PATH.read_text(encoding="utf-8") == health_xids.text(), "run 'make manifests'"
    for code, stated in xids().items():
        line = f"[ 1.0] NVRM: Xid (PCI:0000:01:00): {code}, pid=1"
        [event] = events([line])
        assert (event.severity.word, event.code) == (stated.severity, str(code))
    assert [each.code for each in xids().values() if each.action == "RESTART_BM"] == [79]


def test_the_catalog_data_is_that_of_the_catalog() -> None:
    assert health_data.PATH.read_text(encoding="utf-8") == health_data.text(), "run 'make manifests'"
    assert instance_type.known() == sorted(INSTANCES)
    expected = instance_type.expected(GPU)
    assert expected is not None
    facts = INSTANCES[GPU]
    assert (expected.count, expected.efa, expected.nvlinks) == (8, facts.efa_interfaces, 18)


def test_nodes_need_no_newer_python() -> None:
    """ParallelCluster's oldest nodes have Python 3.9."""
    vermin = require_program("vermin", "'make setup' installs it")
    packages = [path for name in ("health", "software") for path in (RUNTIME / name).glob("*.py")]
    files = [*map(str, packages), str(RUNTIME / "node_checks.py")]
    done = subprocess.run(
        [vermin, "--target=3.9-", "--no-tips", "--eval-annotations", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_session_reports_only_severities_that_a_check_has(tmp_path: Path) -> None:
    session = Session(tmp_path, {}, None)
    with pytest.raises(AssertionError, match="gpu-count never reports monitor"):
        session.found("gpu-count", "node", 1, 2, Severity.MONITOR)


@pytest.mark.parametrize("text", ["nan", "-5", "0", "inf", "fast"])
def test_no_bandwidth_below_which_nothing_is_bad_is_taken(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--min-busbw", text])
    assert f"'{text}' is not a number of GB/s above 0" in capsys.readouterr().err
