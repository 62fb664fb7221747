"""A real Prometheus scrapes the exporters: every panel's query returns series, and the alert rules are evaluated.

Ours run as programs: that of EFA over a made-up sysfs of all generations, that of Slurm over answers of its commands,
that of runs over folders which the launch guard's modules write. The others are replayed. Nodes are scraped by the
configuration that they get.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.metrics import JOBS, series_names
from observability.alerts import records
from observability.dashboards import boards
from programs.exporters.slurm.commands import COMMANDS
from programs.nodes.common.agent_configuration import Destination, Target, agent_configuration
from tests.exporters.efa_sysfs import GENERATIONS, Sysfs, every_generation
from tests.exporters.prometheus import Prometheus, exporter, prometheus
from tests.exporters.slurm_answers import FOLDER
from tests.fleet.fleet import KUBERNETES, MINUTES, NODES, SLURM, fleet, runs
from tests.fleet.prometheus import quick_rules
from tests.fleet.replay import path, replayed
from tests.fleet.runs import Guard
from tests.ports import free_ports
from tests.unit.test_dashboards import substituted

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("fleet")]

SCRAPED = ("gpu-2", "gpu-3", "ip-10-1-0-13", "ip-10-1-0-22")
"""Nodes of the fleet that are scraped: a hot GPU, a GPU with an Xid, a node on Kubernetes, and one with Trainium."""

FIRST_MINUTE = 148
"""The minute of the fleet at the first scrape: in the third a container restarts."""

OTHERS = frozenset({JOBS["kube-state-metrics"], JOBS["kueue"]})
SECONDS = 90.0
FIRING = {
    "EfaPacketDrops": "counters of the made-up sysfs",
    "EfaPortDown": "a port of the made-up sysfs",
    "ExporterDown": "nobody listens",
    "GpuDoubleBitError": "replayed",
    "LossNotFinite": "progress.prom of a run",
    "SharedFileSystemAlmostFull": "replayed",
    "SlowRank": "records of a run's nodes",
    "SlurmNodesDrained": "an answer of scontrol",
}
"""Alerts that the scraped data raise, and whence their fault comes."""


class Scraped:
    """The exporters' data, which change until `stop`, and the Prometheus that scrapes them."""

    def __init__(self, server: Prometheus, sysfs: Sequence[Path], guard: Guard) -> None:
        self.server = server
        self._sysfs = sysfs
        self._guard = guard
        self._minute = MINUTES - 8

    def grow(self) -> None:
        """Let a minute pass for the counters of EFA devices and for the run."""
        for root in self._sysfs:
            for file in root.glob("devices/*/*/infiniband/*/ports/1/hw_counters/*"):
                if file.name != "lifespan":
                    file.write_text(f"{int(file.read_text()) + 100_000}\n")
        self._minute = min(self._minute + 1, MINUTES - 1)
        self._guard.write(self._minute)

    def answered(self, expression: str) -> bool:
        """Return whether a query returns series."""
        return bool(self.server.get("query", query=expression)["result"])


def scrapes(targets: Sequence[Target], cluster: str, kind: str, node: str) -> list[dict[str, Any]]:
    """Return a node's part of the configuration, as its own agent has it, for one server that scrapes all nodes."""
    text = agent_configuration(
        targets,
        Destination("http://unused"),
        cluster=cluster,
        cluster_kind=kind,
        node=node,
        scrape_seconds=1,
        series_limit=5000,
    )
    content = json.loads(text)
    for scrape in content["scrape_configs"]:
        [static] = scrape["static_configs"]
        # The agent adds the cluster's when it sends samples.
        static["labels"] |= {**content["global"]["external_labels"], "job": scrape["job_name"]}
        scrape["job_name"] += f"-{node}"
    found: list[dict[str, Any]] = content["scrape_configs"]
    return found


def commands(folder: Path) -> Path:
    """Return a folder with Slurm's commands, which print recorded answers."""
    folder.mkdir()
    for name, words in COMMANDS.items():
        program = folder / words[0]
        program.write_text(f"#!/bin/sh\nexec cat '{FOLDER / f'{name}.json'}'\n", encoding="utf-8")
        program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("scraped")
    all_of_them = every_generation(folder / "all")
    broken = Sysfs(folder / "broken")
    broken.fleet_node(2, GENERATIONS["EFA 3"])
    (broken.root / "class/infiniband/rdmap1s0/ports/1/state").write_text("1: DOWN\n")
    plan = replace(runs()[1], cluster=SLURM, nodes=["gpu-1", "gpu-2", "gpu-3"])
    guard = Guard(plan, folder / "runs", time.time() - 60 * (MINUTES - 6))
    for minute in range(0, MINUTES - 8, 20):
        guard.write(minute)
    path_of_slurm = {"PATH": f"{commands(folder / 'slurm')}:/usr/bin:/bin"}
    with ExitStack() as stack:
        replay = stack.enter_context(replayed(fleet(), FIRST_MINUTE, OTHERS))
        efa = {
            "gpu-2": stack.enter_context(exporter("efa", f"--sys={all_of_them.root}")),
            "ip-10-1-0-13": stack.enter_context(exporter("efa", f"--sys={broken.root}")),
            "ip-10-1-0-22": free_ports(1)[0],
        }
        slurm = stack.enter_context(exporter("slurm", "--shared-seconds=1", environment=path_of_slurm))
        running = stack.enter_context(exporter("runs", f"--runs={folder / 'runs'}"))
        found = scrapes(
            [
                Target("slurm", slurm, own_node_label=True),
                Target("runs", running, own_node_label=True),
            ],
            *(SLURM, "hyperpod", "head"),
        )
        for job, instance in ((JOBS["kube-state-metrics"], "ksm:8080"), (JOBS["kueue"], "kueue:8443")):
            target = Target(job, replay, path(job, instance), own_node_label=True)
            found += scrapes([target], KUBERNETES, "eks", "")
        for node in (node for node in NODES if node.name in SCRAPED):
            targets = [
                Target(job, replay, path(job, f"{node.name}:{port}"))
                for job, port in (("node", 9100), node.exporter)
            ]
            if node.name in efa:
                targets.append(Target("efa", efa[node.name]))
            found += scrapes(targets, node.cluster, node.cluster_kind, node.name)
        rules = folder / "rules.yaml"
        rules.write_text(quick_rules(1), encoding="utf-8")
        server = stack.enter_context(prometheus(folder, {}, scrapes=found, more=f"rule_files: ['{rules}']\n"))
        yield Scraped(server, [all_of_them.root, broken.root], guard)


def test_every_query_of_every_panel_returns_series_of_scraped_exporters(scraped: Scraped) -> None:
    left = {substituted(expression) for board in boards() for expression in board.expressions()}
    deadline = time.monotonic() + SECONDS
    while left and time.monotonic() < deadline:
        scraped.grow()
        time.sleep(1)
        # A busy machine may miss a scrape: what answered once is not asked again.
        left = {expression for expression in left if not scraped.answered(expression)}
    assert left == set()


def test_the_alert_rules_are_evaluated_and_the_faults_raise_theirs(scraped: Scraped) -> None:
    firing: set[str] = set()
    deadline = time.monotonic() + SECONDS
    while not firing >= set(FIRING) and time.monotonic() < deadline:
        scraped.grow()
        time.sleep(0.5)
        alerts = scraped.server.get("alerts")["alerts"]
        firing |= {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
    assert set(FIRING) - firing == set()
    rules = [rule for group in scraped.server.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_every_series_is_of_a_metric_that_the_catalog_has(scraped: Scraped) -> None:
    names = set(scraped.server.get("label/__name__/values"))
    of_prometheus = {name for name in names if name.startswith("scrape_")} | {
        "up",
        "ALERTS",
        "ALERTS_FOR_STATE",
    }
    assert names - of_prometheus - {record.name for record in records()} <= series_names()
