"""The collector of a node's metrics: what a node installs and scrapes by what it has."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import batch_host
import pytest

from catalog.batch import HOST_FOLDER
from programs.nodes.common.collector import node_name
from stacks.node_metrics import PORTS
from tests.ports import LOOPBACK, free_ports
from tests.unit.cluster_node import ClusterNode
from tests.unit.hyperpod_node import HyperPodNode
from tests.unit.node_folder import NodeFolder
from tests.unit.served_pages import Pages, served
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


@pytest.fixture
def pages() -> Iterator[Pages]:
    with served() as server:
        yield server


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
