"""Metrics of clusters on EKS: exporters, the collector of AWS, and HyperPod's add-on in place of both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.charts import GPU_OPERATOR_CHART
from catalog.metrics import JOBS, metrics, of_exporter
from catalog.ports import NEURON_MONITOR_PORT, RUNS_EXPORTER_PORT
from catalog.reference_types import NEURON
from catalog.versions import NEURON_MONITOR
from observability.alerts import records
from observability.dashboards import boards
from observability.queries import series_of
from tests.kubernetes.releases import releases
from tests.programs import require_program
from tests.synthesis import Synthesis
from trainforge.eks.devices import GPU_COUNTERS
from trainforge.eks.scrape_configuration import ExporterPods, scrape_configuration

CONFIGURATION = """
name: seen
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {{instance_type: {instance_type}, nodes: 2}}
storage: {{lustre: {{capacity_gib: 1200}}}}
notifications: {{emails: [a@example.com]}}
observability: {{scrape_seconds: 60, max_series_per_exporter: 5000}}
{cluster}
"""
ACCESS = "access: [{principal_arn: 'arn:aws:iam::111122223333:role/admin', policy: cluster-admin}]"
EKS = f"eks: {{pools: [gpu], {ACCESS}, software: {{devices: {{gpu: %s}}}}}}"
QUEUED = (
    f"eks: {{pools: [gpu], {ACCESS}, software: {{jobs: [trainer], queues: {{all: {{nodes: {{gpu: 2}}}}}}}}}}"
)
Synthesized = Callable[[str], Synthesis]


def eks(synthesized: Synthesized, instance_type: str, gpu: str = "device-plugin") -> Synthesis:
    return synthesized(CONFIGURATION.format(instance_type=instance_type, cluster=EKS % gpu))


def objects(synthesis: Synthesis, kind: str, stack: str = "EksStack") -> list[dict[str, Any]]:
    return [
        one
        for release in releases(synthesis.templates[stack])
        for one in release.documents
        if one["kind"] == kind
    ]


def scraped(synthesis: Synthesis, stack: str = "EksStack") -> dict[str, Any]:
    blob = synthesis.only(stack, "AWS::APS::Scraper")["ScrapeConfiguration"]["ConfigurationBlob"]
    found: dict[str, Any] = yaml.safe_load(blob["Fn::Base64"])
    return found


def jobs(synthesis: Synthesis) -> list[str]:
    return [one["job_name"] for one in scraped(synthesis)["scrape_configs"]]


def add_ons(synthesis: Synthesis, stack: str = "EksStack") -> set[str]:
    return {one["Properties"]["AddonName"] for one in synthesis.resources(stack, "AWS::EKS::Addon")}


def test_exporters_follow_the_devices_of_the_pools(synthesized: Synthesized) -> None:
    found = eks(synthesized, "p5.48xlarge")
    assert jobs(found) == ["node", "kube-state-metrics", "efa", "dcgm", "runs"]
    assert {"prometheus-node-exporter", "kube-state-metrics"} <= add_ons(found)
    assert jobs(eks(synthesized, "c6i.4xlarge")) == ["node", "kube-state-metrics", "runs"]
    assert jobs(eks(synthesized, NEURON)) == ["node", "kube-state-metrics", "efa", "neuron", "runs"]


def test_neuron_monitor_runs_as_aws_has_it(synthesized: Synthesized) -> None:
    found = {one["metadata"]["name"]: one for one in objects(eks(synthesized, NEURON), "DaemonSet")}
    [container] = found["neuron-monitor"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == NEURON_MONITOR
    assert container["args"][:2] == ["--port", str(NEURON_MONITOR_PORT)]
    assert container["ports"][0]["containerPort"] == NEURON_MONITOR_PORT
    assert container["securityContext"] == {"privileged": True}
    assert not {"hostNetwork", "hostPID"} & set(found["neuron-monitor"]["spec"]["template"]["spec"])


@pytest.mark.parametrize(
    ("cluster", "stack"),
    [("eks", "EksStack"), ("hyperpod_eks", "HyperPodEksStack")],
)
def test_runs_are_exported_once_per_cluster_beside_the_jobs(
    synthesized: Synthesized, cluster: str, stack: str
) -> None:
    section = f"{cluster}: {{pools: [gpu], namespace: hyperpod-jobs, {ACCESS}}}"
    found = synthesized(CONFIGURATION.format(instance_type="p5.48xlarge", cluster=section))
    [deployment] = [
        one for one in objects(found, "Deployment", stack) if one["metadata"]["name"] == "runs-exporter"
    ]
    assert deployment["metadata"]["namespace"] == "hyperpod-jobs"
    [runs] = [one for one in scraped(found, stack)["scrape_configs"] if one["job_name"] == "runs"]
    assert runs["honor_labels"] is True
    kept = {
        one["source_labels"][0]: one["regex"] for one in runs["relabel_configs"] if one["action"] == "keep"
    }
    assert kept == {
        "__meta_kubernetes_pod_label_app_kubernetes_io_name": "runs-exporter",
        "__meta_kubernetes_pod_container_port_number": str(RUNS_EXPORTER_PORT),
        "__meta_kubernetes_namespace": "hyperpod-jobs",
    }


def test_the_image_of_the_runs_exporter_is_that_of_the_system_nodes(synthesized: Synthesized) -> None:
    section = f"eks: {{pools: [gpu], {ACCESS}, system: {{instance_type: c6g.xlarge}}}}"
    found = synthesized(CONFIGURATION.format(instance_type="p5.48xlarge", cluster=section))
    images = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["image"]
        for kind in ("DaemonSet", "Deployment")
        for one in objects(found, kind)
        if one["metadata"]["name"] in {"efa-exporter", "runs-exporter"}
    }
    assert "exportersimagearm" in images["runs-exporter"]
    assert "exportersimagearm" not in images["efa-exporter"]


def test_without_a_shared_file_system_no_runs_are_exported(synthesized: Synthesized) -> None:
    text = CONFIGURATION.format(instance_type="c6i.4xlarge", cluster=EKS % "device-plugin")
    found = synthesized(text.replace("storage: {lustre: {capacity_gib: 1200}}\n", ""))
    assert jobs(found) == ["node", "kube-state-metrics"]
    assert "runs-exporter" not in json.dumps(found.templates["EksStack"])


def test_the_token_goes_to_kueue_in_its_namespace_only(synthesized: Synthesized) -> None:
    found = synthesized(CONFIGURATION.format(instance_type="c6i.4xlarge", cluster=QUEUED))
    authorized = [one for one in scraped(found)["scrape_configs"] if "bearer_token_file" in one]
    assert [one["job_name"] for one in authorized] == ["kueue"]
    assert authorized[0]["scheme"] == "https"
    namespaces = [
        one["regex"]
        for one in authorized[0]["relabel_configs"]
        if one["source_labels"] == ["__meta_kubernetes_namespace"] and one["action"] == "keep"
    ]
    assert namespaces == ["kueue-system"]
    with pytest.raises(ValueError, match="exporter 'kueue': 'authorized' needs the 'namespace'"):
        ExporterPods("kueue", "app", "kueue", 8443, authorized=True)


def test_every_metric_of_the_dashboards_is_collected(synthesized: Synthesized) -> None:
    """Of a cluster with queues and a shared file system, by the metric's exporter and the exporter's scrape.

    A metric that Slurm alone has is of Slurm's clusters; Prometheus makes `up` and `ALERTS` itself.
    """
    section = QUEUED.replace("pools: [gpu]", "pools: [gpu, neuron]")
    text = CONFIGURATION.format(instance_type="p5.48xlarge", cluster=section)
    text = text.replace("\nstorage:", f"\n  neuron: {{instance_type: {NEURON}, nodes: 1}}\nstorage:")
    collected = set(jobs(synthesized(text)))
    recorded = {record.name: record.expr for record in records()}
    exporters: dict[str, set[str]] = {}
    for metric in metrics():
        for name in metric.series_names:
            exporters.setdefault(name, set()).add(metric.exporter)

    def read(expression: str) -> set[str]:
        """Return the metrics that a query reads, by recorded series too."""
        return {
            name
            for series in series_of(expression)
            for name in (read(recorded[series]) if series in recorded else {series})
        }

    named = {
        name
        for board in boards()
        if board.uid != "trainforge-slurm"
        for expression in board.expressions()
        for name in read(expression)
    } - {"up", "ALERTS"}
    slurm = {"slurm", "slurm-openmetrics"}
    of_slurm = {name for name in named if exporters[name] <= slurm}
    assert {name.partition("_")[0] for name in of_slurm} <= {"slurm", "trainforge"}
    left = {
        name: exporters[name]
        for name in named - of_slurm
        if not {JOBS[one] for one in exporters[name] - slurm} & collected
    }
    assert left == {}
    assert {JOBS[one] for name in named - of_slurm for one in exporters[name]} == collected


def test_the_operator_of_gpus_has_its_own_exporter(synthesized: Synthesized) -> None:
    found = eks(synthesized, "p5.48xlarge", "gpu-operator")
    [dcgm] = [one for one in scraped(found)["scrape_configs"] if one["job_name"] == "dcgm"]
    assert dcgm["relabel_configs"][1]["regex"] == "nvidia-dcgm-exporter"
    # Its own list has no memory errors and no violations, for which there are alerts.
    [counters] = [one for one in objects(found, "ConfigMap") if one["metadata"]["name"] == GPU_COUNTERS]
    assert counters["metadata"]["namespace"] == GPU_OPERATOR_CHART.namespace
    [(key, listed)] = counters["data"].items()
    assert {line.partition(",")[0] for line in listed.splitlines()[1:]} == {
        metric.name for metric in of_exporter("dcgm")
    }
    [release] = [
        resource["Properties"]
        for resource in found.templates["EksStack"]["Resources"].values()
        if resource.get("Properties", {}).get("Release") == GPU_OPERATOR_CHART.release
    ]
    assert json.loads(release["Values"])["dcgmExporter"] == {
        "config": {"name": GPU_COUNTERS},
        "env": [{"name": "DCGM_EXPORTER_COLLECTORS", "value": f"/etc/dcgm-exporter/{key}"}],
    }
    charts = json.dumps(found.templates["EksStack"])
    assert "helm-charts" not in charts


def test_the_collector_writes_to_the_workspace_and_bounds_what_it_takes(synthesized: Synthesized) -> None:
    found = eks(synthesized, "p5.48xlarge")
    scraper = found.only("EksStack", "AWS::APS::Scraper")
    assert "ImportValue" in json.dumps(scraper["Destination"])
    assert len(scraper["Source"]["EksConfiguration"]["SubnetIds"]) == 2
    written = scraped(found)
    assert written["global"]["scrape_interval"] == "60s"
    assert written["global"]["external_labels"] == {"cluster": "seen-eks", "cluster_kind": "eks"}
    limits = {one["job_name"]: one["sample_limit"] for one in written["scrape_configs"]}
    assert limits == {"node": 5000, "kube-state-metrics": 0, "efa": 5000, "dcgm": 5000, "runs": 0}


def test_nodes_may_pull_the_exporters(synthesized: Synthesized) -> None:
    found = eks(synthesized, "p5.48xlarge")
    [repository] = [
        name
        for name, resource in found.templates["EksStack"]["Resources"].items()
        if resource["Type"] == "AWS::ECR::Repository"
    ]
    pulls = [
        statement["Resource"]
        for policy in found.resources("EksStack", "AWS::IAM::Policy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "ecr:BatchGetImage" in statement["Action"]
        and json.dumps(policy["Properties"]["Roles"]).find("NodeRole") >= 0
    ]
    assert {"Fn::GetAtt": [repository, "Arn"]} in pulls


def test_prometheus_takes_the_configuration(tmp_path: Path) -> None:
    promtool = require_program("promtool", "Debian's package 'prometheus' has it")
    text = scrape_configuration(
        [
            ExporterPods("node", "app.kubernetes.io/name", "prometheus-node-exporter", 9100),
            ExporterPods(
                "state",
                "app",
                "state",
                8080,
                namespace="n",
                own_node_label=True,
                authorized=True,
                keeps=["kube_pod_info", "kube_node_info"],
            ),
        ],
        cluster="c",
        cluster_kind="eks",
        scrape_seconds=30,
        series_limit=100,
    )
    path = tmp_path / "scrape.yml"
    token = tmp_path / "token"
    token.touch()
    # The collector has the file; promtool looks for it.
    path.write_text(
        text.replace("/var/run/secrets/kubernetes.io/serviceaccount/token", str(token)), encoding="utf-8"
    )
    done = subprocess.run(
        [promtool, "check", "config", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    node, state = yaml.safe_load(text)["scrape_configs"]
    assert node["relabel_configs"][-1] == {
        "source_labels": ["__meta_kubernetes_pod_node_name"],
        "target_label": "node",
    }
    ended, labelled = node["relabel_configs"][:2]
    assert (ended["source_labels"], ended["action"]) == (["__meta_kubernetes_pod_phase"], "drop")
    assert labelled["source_labels"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    assert "metric_relabel_configs" not in node
    [kept] = state["metric_relabel_configs"]
    assert (kept["action"], kept["regex"]) == ("keep", "kube_node_info|kube_pod_info")
    assert state["honor_labels"] is True
    assert "target_label" not in json.dumps(state)


def test_the_add_on_of_hyperpod_writes_to_the_deployment_s_workspace(synthesized: Synthesized) -> None:
    cluster = f"hyperpod_eks: {{pools: [gpu], {ACCESS}, observability: {{}}}}"
    found = synthesized(CONFIGURATION.format(instance_type="p5.48xlarge", cluster=cluster))
    stack = "HyperPodEksStack"
    assert found.resources(stack, "AWS::APS::Workspace") == []
    # Its collector takes no exporters of others by its settings: the runs have a collector of their own.
    assert [one["job_name"] for one in scraped(found, stack)["scrape_configs"]] == ["runs"]
    assert not {"prometheus-node-exporter", "kube-state-metrics"} & add_ons(found, stack)
    [add_on] = [
        one["Properties"]
        for one in found.resources(stack, "AWS::EKS::Addon")
        if one["Properties"]["AddonName"] == "amazon-sagemaker-hyperpod-observability"
    ]
    assert "seen-observability:" in json.dumps(add_on["ConfigurationValues"])
