"""The configuration of the agent that collects a node's metrics, as a real Prometheus takes it."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.metrics import series_names
from programs.nodes.common.agent_configuration import Destination, Target, agent_configuration
from programs.nodes.common.node_exporter import node_targets
from tests.ports import LOOPBACK, free_ports
from tests.programs import require_program
from tests.unit.served_pages import Pages, served

URL = "https://aps-workspaces.us-west-2.amazonaws.com/workspaces/ws-1/api/v1/remote_write"


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
def pages() -> Iterator[Pages]:
    with served() as server:
        yield server


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
    # Not the first scrape alone: on a busy machine that may take longer than its second.
    answering = {one["metric"]["job"] for one in series(receiver, "up == 1", 5)}
    assert answering == {"load", "node", "textfile", "slurm", "runs"}
    assert len(series(receiver, 'up{job="wide"} == 0', 1)) == 1
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
