"""The collector of a node's metrics: what a node installs by what it has, and samples that a real Prometheus ships."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import batch_host
import pytest

from catalog.batch import HOST_FOLDER
from catalog.metrics import series_names
from programs.nodes.common.agent_configuration import Destination, Target, agent_configuration
from programs.nodes.common.collector import node_name
from programs.nodes.common.node_exporter import node_targets
from stacks.node_metrics import PORTS
from tests.ports import LOOPBACK, free_ports
from tests.programs import require_program
from tests.unit.cluster_node import ClusterNode
from tests.unit.hyperpod_node import HyperPodNode
from tests.unit.node_folder import NodeFolder
from trainforge.node_program import BATCH, staged

URL = "https://aps-workspaces.us-west-2.amazonaws.com/workspaces/ws-1/api/v1/remote_write"
COLLECTOR = "/etc/trainforge/collector.yml"
UNIT = "/etc/systemd/system/trainforge-collector.service"
# Answers like the real ones: the parameter, and the folder of the exporters, copied to where it is asked for.
AWS = """case "$1" in
ssm) cat "$STATE/parameter" ;;
s3) for last in "$@"; do :; done; cp -r "$STATE/exporters/." "$last" ;;
esac"""
SYSTEMCTL = """case "$1" in
is-enabled) grep -qx "$2" "$STATE/enabled" 2>/dev/null && echo enabled || echo disabled ;;
is-active) grep -qx "$2" "$STATE/started" 2>/dev/null && echo active || { echo inactive; exit 3; } ;;
enable) for last in "$@"; do :; done; echo "$last" >>"$STATE/enabled"; echo "$last" >>"$STATE/started" ;;
restart) echo "$2" >>"$STATE/started" ;;
esac"""
Release = Callable[[str], dict[str, Any]]


class Pages(ThreadingHTTPServer):
    """A server of texts by path on a loopback port."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the base class's name
                content = pages.get(self.path)
                self.send_response(200 if content else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_arguments: Any) -> None:
                pass

        super().__init__((LOOPBACK, 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def pages() -> Iterator[Pages]:
    server = Pages()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def release(pages: Pages) -> Release:
    """Return a function that serves a program as a release, and returns its description for nodes."""

    def serve(name: str) -> dict[str, Any]:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as members:
            member = tarfile.TarInfo(f"{name}-1.2.3.linux-x/{name}")
            member.size = len(name)
            members.addfile(member, io.BytesIO(name.encode()))
        content = archive.getvalue()
        pages.pages[f"/{name}"] = content
        return {
            "version": "1.2.3",
            "url": f"http://{LOOPBACK}:{pages.server_port}/{name}",
            "sha256": {platform.machine(): hashlib.sha256(content).hexdigest()},
        }

    return serve


@pytest.fixture
def metrics(release: Release) -> dict[str, Any]:
    return {
        "parameter": "/trainforge/demo/observability/metrics",
        "region": "us-west-2",
        "cluster": "demo-hyperpod",
        "cluster_kind": "hyperpod",
        "scrape_seconds": 30,
        "series_limit": 10000,
        "prometheus": release("prometheus"),
        "node_exporter": release("node_exporter"),
        "ports": PORTS | {"slurmctld": free_ports(1)[0]},
        "runs": "/fsx/runs",
        "dcgm_package": "datacenter-gpu-manager-exporter=4.8.2-1",
        "dcgm_image": "nvcr.io/dcgm:1",
    }


def prepared(node: NodeFolder, *exporters: str) -> None:
    """Give a node the answers of AWS, with units of these exporters."""
    node.program("aws", AWS)
    node.program("systemctl", SYSTEMCTL)
    (node.root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    address = {"remote_write_url": URL, "exporters": "s3://scripts/observability/exporters/1/"}
    (node.state / "parameter").write_text(json.dumps(address), encoding="utf-8")
    units = node.state / "exporters" / "units"
    units.mkdir(parents=True)
    (units.parent / "exporters.pyz").write_bytes(b"PK")
    (units.parent / "dcgm-counters.csv").write_text("# field, type, help\n", encoding="utf-8")
    for name in exporters:
        (units / f"trainforge-{name}-exporter.service").write_text("[Service]\n", encoding="utf-8")


def jobs(node: NodeFolder) -> list[str]:
    return [one["job_name"] for one in json.loads(node.read(COLLECTOR))["scrape_configs"]]


@pytest.fixture
def node(tmp_path: Path) -> HyperPodNode:
    made = HyperPodNode(tmp_path)
    prepared(made, "efa", "slurm", "runs")
    return made


TYPES = {"head": "controller", "entry": "login", "gpu": "compute"}


def test_a_node_without_devices_sends_its_own_metrics_signed(
    node: HyperPodNode, metrics: dict[str, Any]
) -> None:
    done = node.run({"metrics": metrics, "node_types": TYPES})
    assert done.code == 0, done.output
    written = json.loads(node.read(COLLECTOR))
    [scrape, files] = written["scrape_configs"]
    assert (scrape["job_name"], scrape["params"]) == ("node", {"exclude[]": ["textfile"]})
    assert (files["job_name"], files["params"]) == ("textfile", {"collect[]": ["textfile"]})
    assert files["static_configs"] == scrape["static_configs"]
    exporter = node.read("/etc/systemd/system/trainforge-node-exporter.service")
    assert f"--web.listen-address={LOOPBACK}:9100\n" in exporter
    name = node_name(os.uname().nodename)
    assert scrape["static_configs"][0]["labels"] == {"instance": f"{name}:9100", "node": name}
    assert written["global"]["external_labels"] == {"cluster": "demo-hyperpod", "cluster_kind": "hyperpod"}
    assert written["remote_write"][0]["url"] == URL
    assert written["remote_write"][0]["sigv4"] == {"region": "us-west-2"}
    unit = node.read(UNIT)
    assert "prometheus-1.2.3 --agent" in unit
    assert f"--web.listen-address={LOOPBACK}:" in unit
    assert "DynamicUser=yes" in unit


@pytest.mark.parametrize("host", ["ip-10-1-2-3", "ip-10-1-2-3.us-west-2.compute.internal"])
def test_a_node_is_named_as_slurm_names_it(host: str) -> None:
    assert node_name(host) == "ip-10-1-2-3"


def test_each_device_brings_its_exporter(node: HyperPodNode, metrics: dict[str, Any]) -> None:
    node.file("/sys/class/infiniband/rdmap0s6/node_type", "1")
    node.file("/dev/nvidiactl", "")
    node.file("/opt/aws/neuron/bin/neuron-monitor", "")
    done = node.run({"metrics": metrics, "node_types": TYPES})
    assert done.code == 0, done.output
    assert jobs(node) == ["node", "textfile", "dcgm", "neuron", "efa"]
    started = (node.state / "started").read_text(encoding="utf-8").split()
    assert "nvidia-dcgm-exporter.service" in started
    assert "trainforge-efa-exporter.service" in started
    assert "datacenter-gpu-manager-exporter=4.8.2-1" in (node.state / "installed").read_text(encoding="utf-8")
    dcgm = node.read("/etc/systemd/system/nvidia-dcgm-exporter.service.d/trainforge.conf")
    assert (
        "ExecStart=\nExecStart=/usr/bin/dcgm-exporter -f /opt/trainforge/exporters/dcgm-counters.csv" in dcgm
    )
    assert f"--address={LOOPBACK}:9400" in dcgm
    assert "Environment=DCGM_HPC_JOB_MAPPING_DIR=/run/trainforge/gpu-jobs" in dcgm
    assert "--port 8000" in node.read("/etc/systemd/system/trainforge-neuron-monitor.service")


def test_an_image_s_own_exporter_of_gpus_stays_and_is_named(
    node: HyperPodNode, metrics: dict[str, Any]
) -> None:
    node.file("/dev/nvidiactl", "")
    (node.state / "installed").write_text("datacenter-gpu-manager-exporter=4.9.0-1\n", encoding="utf-8")
    done = node.run({"metrics": metrics, "node_types": TYPES})
    assert done.code == 0, done.output
    assert "this image has 'datacenter-gpu-manager-exporter' 4.9.0-1" in done.output
    assert "4.8.2" not in (node.state / "installed").read_text(encoding="utf-8")
    assert jobs(node) == ["node", "textfile", "dcgm"]


@pytest.mark.parametrize("image_registers_jobs", [True, False])
def test_jobs_are_labels_of_hyperpods_gpus_by_its_own_hook_or_by_ours(
    node: HyperPodNode, metrics: dict[str, Any], image_registers_jobs: bool
) -> None:
    node.node_type("gpu")
    node.file("/dev/nvidiactl", "")
    for kind in ("prolog", "epilog"):
        (node.root / f"opt/slurm/etc/{kind}.d").mkdir(parents=True)
    if image_registers_jobs:
        node.file("/opt/slurm/etc/prolog.d/700_dcgm_job_map_register.sh", "HyperPod's")
    assert node.run({"metrics": metrics, "node_types": TYPES}).code == 0
    dcgm = node.read("/etc/systemd/system/nvidia-dcgm-exporter.service.d/trainforge.conf")
    folder = "/run/slurm/dcgm-job-mapping" if image_registers_jobs else "/run/trainforge/gpu-jobs"
    assert f"Environment=DCGM_HPC_JOB_MAPPING_DIR={folder}\n" in dcgm
    for kind, action in (("prolog", "add"), ("epilog", "remove")):
        hook = node.root / f"opt/slurm/etc/{kind}.d/60_trainforge_gpu_jobs"
        assert hook.exists() is not image_registers_jobs
        if not image_registers_jobs:
            assert f"gpu-jobs {action} || true" in hook.read_text()


def test_one_node_speaks_of_slurm_and_of_runs(node: HyperPodNode, metrics: dict[str, Any]) -> None:
    node.node_type("head")
    assert node.run({"metrics": metrics, "node_types": TYPES}).code == 0
    assert jobs(node) == ["node", "textfile", "slurm", "runs"]
    scrapes = json.loads(node.read(COLLECTOR))["scrape_configs"]
    assert [one["honor_labels"] for one in scrapes] == [False, False, True, True]
    assert [one["sample_limit"] for one in scrapes] == [10000, 10000, 0, 0]
    assert node.read("/etc/trainforge/runs-exporter.env") == "TRAINFORGE_RUNS=/fsx/runs\nOPTIONS=\n"
    assert node.read("/etc/trainforge/slurm-exporter.env") == "OPTIONS=\n"


def test_slurm_s_own_metrics_are_taken_where_it_has_them(
    node: HyperPodNode, metrics: dict[str, Any], pages: Pages
) -> None:
    node.node_type("head")
    pages.pages["/metrics/nodes"] = b"slurm_nodes 1\n"
    metrics["ports"] = metrics["ports"] | {"slurmctld": pages.server_port}
    assert node.run({"metrics": metrics, "node_types": TYPES}).code == 0
    own = ["slurm-jobs", "slurm-nodes", "slurm-partitions", "slurm-scheduler"]
    assert jobs(node) == ["node", "textfile", *own, "slurm", "runs"]
    paths = [one["metrics_path"] for one in json.loads(node.read(COLLECTOR))["scrape_configs"]]
    assert paths[2:6] == ["/metrics/jobs", "/metrics/nodes", "/metrics/partitions", "/metrics/scheduler"]
    assert node.read("/etc/trainforge/slurm-exporter.env") == "OPTIONS=--native\n"


def test_a_second_run_changes_nothing(node: HyperPodNode, metrics: dict[str, Any]) -> None:
    node.file("/sys/class/infiniband/rdmap0s6/node_type", "1")
    node.file("/dev/nvidiactl", "")
    configuration = {"metrics": metrics, "node_types": TYPES}
    assert node.run(configuration).code == 0
    again = node.run(configuration)
    assert again.code == 0
    assert again.counts["changed"] == 0, again.output


def test_a_new_address_starts_the_agent_again(node: HyperPodNode, metrics: dict[str, Any]) -> None:
    configuration = {"metrics": metrics, "node_types": TYPES}
    assert node.run(configuration).code == 0
    address = {"remote_write_url": "https://other"}
    (node.state / "parameter").write_text(json.dumps(address), encoding="utf-8")
    before = len(node.calls("systemctl"))
    assert node.run(configuration).code == 0
    assert "systemctl restart trainforge-collector.service" in node.calls("systemctl")[before:]
    assert json.loads(node.read(COLLECTOR))["remote_write"][0]["url"] == "https://other"


def test_a_node_that_cannot_send_still_takes_jobs(node: HyperPodNode, metrics: dict[str, Any]) -> None:
    node.program("aws", 'echo "AccessDenied" >&2; exit 254')
    done = node.run({"metrics": metrics, "node_types": TYPES})
    assert done.code == 0, done.output
    assert "WARNING: this node sends no metrics" in done.output
    assert "AccessDenied" in done.output
    assert not (node.root / COLLECTOR.lstrip("/")).exists()


@pytest.mark.parametrize(
    ("broken", "unit"),
    [
        ("the node", "trainforge-node-exporter"),
        ("GPUs", "nvidia-dcgm-exporter"),
        ("Neuron devices", "trainforge-neuron-monitor"),
        ("the exporter 'efa'", "trainforge-efa-exporter"),
        ("any kind", "trainforge-collector"),
    ],
)
def test_a_node_whose_port_is_taken_takes_jobs_and_says_which_metrics_are_missing(
    node: HyperPodNode, metrics: dict[str, Any], broken: str, unit: str
) -> None:
    """HyperPod and ParallelCluster end an instance whose set-up fails, and an image may have exporters of its own."""
    node.file("/sys/class/infiniband/rdmap0s6/node_type", "1")
    node.file("/dev/nvidiactl", "")
    node.file("/opt/aws/neuron/bin/neuron-monitor", "")
    fails = f'case "$*" in *{unit}.service*) echo failed >&2; exit 1 ;; esac\n'
    node.program("systemctl", fails + SYSTEMCTL)
    done = node.run({"metrics": metrics, "node_types": TYPES})
    assert done.code == 0, done.output
    assert f"WARNING: no metrics of {broken} here: " in done.output
    # Scraped all the same: an alert says then that it does not answer.
    assert jobs(node) == ["node", "textfile", "dcgm", "neuron", "efa"]


def test_another_archive_of_the_agent_is_refused(node: HyperPodNode, metrics: dict[str, Any]) -> None:
    metrics["prometheus"]["sha256"] = {platform.machine(): "0" * 64}
    done = node.run({"metrics": metrics, "node_types": TYPES})
    assert done.code == 1
    assert "it is not the expected release" in done.output
    assert not (node.root / UNIT.lstrip("/")).exists()


def test_a_wrong_configuration_is_reported_with_every_other_mistake(
    node: HyperPodNode, metrics: dict[str, Any]
) -> None:
    del metrics["region"]
    done = node.run({"metrics": metrics, "packages": ["!"]})
    assert done.code == 2
    assert "metrics: KeyError('region')" in done.output
    assert "packages[0]" in done.output


def test_a_parallelcluster_head_node_does_the_same(tmp_path: Path, metrics: dict[str, Any]) -> None:
    head = ClusterNode(tmp_path)
    prepared(head, "efa", "slurm", "runs")
    done = head.run({"metrics": metrics | {"cluster_kind": "parallelcluster"}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs(head) == ["node", "textfile", "slurm", "runs"]
    for kind, action in (("prolog", "add"), ("epilog", "remove")):
        hook = head.root / f"opt/slurm/etc/scripts/{kind}.d/60_trainforge_gpu_jobs"
        assert f"gpu-jobs {action}" in hook.read_text(encoding="utf-8")
        # On a node without the exporters it does nothing, and a job starts.
        assert subprocess.run([str(hook)], check=False, timeout=60).returncode == 0
    assert "trainforge-node-exporter.service" in (head.state / "started").read_text(encoding="utf-8")
    # IMDS answers root alone there, and the agent signs with the node's role.
    unit = (head.root / UNIT[1:]).read_text(encoding="utf-8")
    assert "DynamicUser" not in unit
    assert "\nCapabilityBoundingSet=\n" in unit


def without_debian(tmp_path: Path, stubs: dict[str, str]) -> NodeFolder:
    """Return a node without Debian's tools, as Amazon Linux is."""
    host = NodeFolder(tmp_path, stubs, sys.executable)
    for name in ("mkdir", "cat", "cp", "grep", "sh"):
        (host.bin / name).symlink_to(shutil.which(name) or name)
    host.file("/dev/nvidiactl", "")
    return host


def collect(host: NodeFolder, metrics: dict[str, Any]) -> str:
    """Run the program of a Batch host's metrics, which sets up nothing else, and return what it says."""
    told = host.state / "metrics.json"
    told.write_text(json.dumps(metrics), encoding="utf-8")
    options = ["--root", str(host.root), "--configuration", str(told), "--time-scale", "0.001"]
    done = subprocess.run(
        [sys.executable, "-u", "collect.py", *options],
        cwd=staged(BATCH),
        env={**host.environment(), "PATH": str(host.bin)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("in_image", [True, False], ids=["in-image", "absent"])
def test_without_apt_an_image_has_nvidia_s_exporter_or_its_metrics_are_missing(
    tmp_path: Path, metrics: dict[str, Any], in_image: bool
) -> None:
    node = without_debian(tmp_path, {})
    prepared(node, "efa")
    if in_image:
        node.file("/usr/bin/dcgm-exporter", "")
    said = collect(node, metrics)
    assert ("WARNING: no metrics of GPUs here" in said) != in_image
    assert (node.root / "etc/systemd/system/nvidia-dcgm-exporter.service.d").exists() == in_image
    assert jobs(node) == ["node", "textfile", "dcgm"]


def test_a_host_of_batch_runs_nvidia_s_exporter_as_a_container_and_that_of_its_runs(
    tmp_path: Path, metrics: dict[str, Any]
) -> None:
    host = without_debian(tmp_path, {"docker": ""})
    prepared(host, "efa", "runs")
    collect(host, metrics | {"cluster_kind": "batch", "host_folder": HOST_FOLDER})
    assert jobs(host) == ["node", "textfile", "dcgm", "runs"]
    scrape = json.loads(host.read(COLLECTOR))["scrape_configs"][3]
    assert {rule["target_label"] for rule in scrape["metric_relabel_configs"]} == {"instance", "node"}
    environment = host.read("/etc/trainforge/runs-exporter.env")
    assert environment == f"TRAINFORGE_RUNS=/fsx/runs\nOPTIONS=--claims={HOST_FOLDER}/runs\n"
    folder = host.root / HOST_FOLDER[1:]
    assert (folder / "runs").stat().st_mode & 0o7777 == 0o1777
    # As jobs on the host read and write it.
    job = {"AWS_BATCH_JOB_ID": "1234"}
    assert (
        batch_host.node_name(job, host.root)
        == node_name(os.uname().nodename)
        == scrape["static_configs"][0]["labels"]["node"]
    )
    assert batch_host.claims(job, host.root) == folder / "runs"
    unit = host.read("/etc/systemd/system/trainforge-dcgm-exporter.service")
    assert "--gpus all" in unit
    assert "nvcr.io/dcgm:1" in unit
    assert "--privileged" not in unit


def configuration(targets: list[Target], url: str, region: str = "", limit: int = 100) -> str:
    return agent_configuration(
        targets,
        Destination(url, region),
        cluster="demo",
        cluster_kind="hyperpod",
        node="gpu-1",
        scrape_seconds=1,
        series_limit=limit,
    )


def test_prometheus_takes_the_signed_configuration(tmp_path: Path) -> None:
    promtool = require_program("promtool", "Debian's package 'prometheus' has it")
    path = tmp_path / "collector.yml"
    path.write_text(configuration([*node_targets(9100)], URL, "us-west-2"), encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "config", "--agent", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return a function that starts a Prometheus on a configuration, and returns its address."""
    program = require_program("prometheus", "Debian's package 'prometheus' has it")
    running: list[subprocess.Popen[bytes]] = []

    def start(text: str, *options: str) -> str:
        # A port that was free may be another's when the program takes it, and metrics would end there.
        for _ in range(5):
            [port] = free_ports(1)
            folder = tmp_path / str(port)
            folder.mkdir()
            (folder / "prometheus.yml").write_text(text, encoding="utf-8")
            command = [program, f"--config.file={folder}/prometheus.yml", *options]
            command.append(f"--web.listen-address={LOOPBACK}:{port}")
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            running.append(process)
            while process.poll() is None:
                if "Server is ready to receive web requests" in (folder / "log").read_text("utf-8"):
                    return f"http://{LOOPBACK}:{port}"
                time.sleep(0.1)
        raise AssertionError((folder / "log").read_text("utf-8"))

    yield start
    # Not by SIGTERM: an agent tries for a minute to send its last samples to a receiver that has ended.
    for process in running:
        process.kill()
    for process in running:
        process.wait(timeout=30)


def series(address: str, query: str, count: int) -> list[dict[str, Any]]:
    """Return the result of a query as soon as it has `count` series."""
    deadline = time.monotonic() + 60
    found: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(
                f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10
            ) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            found = []
        if len(found) >= count:
            return found
        time.sleep(0.2)
    raise AssertionError(f"'{query}' has {len(found)} series after a minute, not {count}")


def test_an_agent_ships_to_a_second_prometheus_by_the_configuration_of_nodes(
    pages: Pages, prometheus: Callable[..., str]
) -> None:
    """The configuration is that of nodes but for SigV4, which the second one does not take."""
    pages.pages["/metrics?exclude%5B%5D=textfile"] = b"node_load1 2\n"
    # A user's files: their own metrics, and some that would raise alerts or name another node.
    pages.pages["/metrics?collect%5B%5D=textfile"] = (
        b'trainforge_loss{run="r",node="gpu-9"} 2\ntrainforge_running 1\nnode_filesystem_avail_bytes 0\n'
        b'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",xid="79"} 1\ntrainforge_run_ended 0\ntrainforge_runs 1\n'
        b"trainforge_slurm_node_gpus 8\ntrainforge_rank_step_seconds 9\ntrainforge_progress_loss NaN\n"
    )
    pages.pages["/metrics"] = b'# TYPE jobs gauge\njobs{node="gpu-9"} 3\n# TYPE load gauge\nload 0.5\n'
    pages.pages["/many"] = b"".join(b'many{n="%d"} 1\n' % number for number in range(101))
    pages.pages["/runs"] = (
        b'trainforge_runs 1\ntrainforge_run_nodes{run="7"} 2\ntrainforge_progress_loss{run="7"} 3\n'
        b'trainforge_rank_steps_total{run="7",node="gpu-9",rank="1"} 4\n'
    )
    # Debian's program keeps samples in a folder of the machine unless it is given one.
    receiver = prometheus("{}", "--web.enable-remote-write-receiver", "--storage.tsdb.path=data")
    port = pages.server_port
    targets = [
        Target("load", port),
        *node_targets(port),
        Target("slurm", port, own_node_label=True),
        Target("wide", port, path="/many"),
        Target("runs", port, path="/runs", own_node_label=True, moves=True),
    ]
    prometheus(
        configuration(targets, f"{receiver}/api/v1/write"),
        "--enable-feature=agent",
        "--storage.agent.path=agent",
    )
    [load] = series(receiver, 'load{job="load"}', 1)
    assert load["metric"] == {
        "__name__": "load",
        "cluster": "demo",
        "cluster_kind": "hyperpod",
        "instance": f"gpu-1:{port}",
        "job": "load",
        "node": "gpu-1",
    }
    # An exporter of other nodes keeps its own label, and any other's is put aside.
    [told] = series(receiver, 'jobs{job="slurm"}', 1)
    assert told["metric"]["node"] == "gpu-9"
    [renamed] = series(receiver, 'jobs{job="load"}', 1)
    assert (renamed["metric"]["node"], renamed["metric"]["exported_node"]) == ("gpu-1", "gpu-9")
    # A run may continue on another host of Batch: its series do not name this one, and the exporter's own do.
    of_host = {"instance": f"gpu-1:{port}", "node": "gpu-1"}
    for name, place in {
        "trainforge_runs": of_host,
        "trainforge_run_nodes": {"instance": "runs"},
        "trainforge_progress_loss": {"instance": "runs"},
        "trainforge_rank_steps_total": {"instance": "runs", "node": "gpu-9"},
    }.items():
        [one] = series(receiver, name, 1)
        assert {label: one["metric"].get(label) for label in ("instance", "node")} == {"node": None} | place
    up = {one["metric"]["job"]: one["value"][1] for one in series(receiver, "up", 6)}
    assert up == {"load": "1", "node": "1", "textfile": "1", "slurm": "1", "wide": "0", "runs": "1"}
    assert len(series(receiver, 'node_load1{job="node",node="gpu-1"}', 1)) == 1
    of_users = series(receiver, '{job="textfile",__name__!~"up|scrape_.*"}', 2)
    assert {(one["metric"]["__name__"], one["metric"]["node"]) for one in of_users} == {
        ("trainforge_loss", "gpu-1"),
        ("trainforge_running", "gpu-1"),
    }
    assert series(receiver, "count(many) or vector(0)", 1)[0]["value"][1] == "0"


def test_files_of_users_have_the_trainers_metrics_and_none_that_another_exporter_has() -> None:
    _, files = node_targets(9100)

    def taken(name: str) -> bool:
        return bool(re.fullmatch(files.keep, name)) and not re.fullmatch(files.drop, name)

    trainers = ("step", "loss", "mfu", "running", "checkpoint_step", "report_timestamp_seconds")
    assert all(taken(f"trainforge_{name}") for name in trainers)
    assert [name for name in series_names() if taken(name)] == []
