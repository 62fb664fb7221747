"""Metrics of clusters on EKS: exporters, the collector of AWS, and HyperPod's add-on in place of both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.programs import require_program
from tests.synthesis import Synthesis
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
Synthesized = Callable[[str], Synthesis]


def eks(synthesized: Synthesized, instance_type: str, gpu: str = "device-plugin") -> Synthesis:
    return synthesized(CONFIGURATION.format(instance_type=instance_type, cluster=EKS % gpu))


def scraped(synthesis: Synthesis) -> dict[str, Any]:
    blob = synthesis.only("EksStack", "AWS::APS::Scraper")["ScrapeConfiguration"]["ConfigurationBlob"]
    found: dict[str, Any] = yaml.safe_load(blob["Fn::Base64"])
    return found


def jobs(synthesis: Synthesis) -> list[str]:
    return [one["job_name"] for one in scraped(synthesis)["scrape_configs"]]


def add_ons(synthesis: Synthesis, stack: str = "EksStack") -> set[str]:
    return {one["Properties"]["AddonName"] for one in synthesis.resources(stack, "AWS::EKS::Addon")}


def test_exporters_follow_the_devices_of_the_pools(synthesized: Synthesized) -> None:
    found = eks(synthesized, "p5.48xlarge")
    assert jobs(found) == ["node", "kube-state-metrics", "dcgm", "efa"]
    assert {"prometheus-node-exporter", "kube-state-metrics"} <= add_ons(found)
    assert jobs(eks(synthesized, "c6i.4xlarge")) == ["node", "kube-state-metrics"]


def test_the_operator_of_gpus_has_its_own_exporter(synthesized: Synthesized) -> None:
    found = eks(synthesized, "p5.48xlarge", "gpu-operator")
    [dcgm] = [one for one in scraped(found)["scrape_configs"] if one["job_name"] == "dcgm"]
    assert dcgm["relabel_configs"][0]["regex"] == "nvidia-dcgm-exporter"
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
    assert limits == {"node": 5000, "kube-state-metrics": 0, "dcgm": 5000, "efa": 5000}


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
            ExporterPods("state", "app", "state", 8080, speaks_of_others=True),
        ],
        cluster="c",
        cluster_kind="eks",
        scrape_seconds=30,
        series_limit=100,
    )
    path = tmp_path / "scrape.yml"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "config", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    node, state = yaml.safe_load(text)["scrape_configs"]
    assert node["relabel_configs"][-1] == {
        "source_labels": ["__meta_kubernetes_pod_node_name"],
        "target_label": "node",
    }
    assert node["relabel_configs"][0]["source_labels"] == [
        "__meta_kubernetes_pod_label_app_kubernetes_io_name"
    ]
    assert state["honor_labels"] is True
    assert "target_label" not in json.dumps(state)


def test_the_add_on_of_hyperpod_writes_to_the_deployment_s_workspace(synthesized: Synthesized) -> None:
    cluster = f"hyperpod_eks: {{pools: [gpu], {ACCESS}, observability: {{}}}}"
    found = synthesized(CONFIGURATION.format(instance_type="p5.48xlarge", cluster=cluster))
    stack = "HyperPodEksStack"
    assert found.resources(stack, "AWS::APS::Workspace") == found.resources(stack, "AWS::APS::Scraper") == []
    assert not {"prometheus-node-exporter", "kube-state-metrics"} & add_ons(found, stack)
    [add_on] = [
        one["Properties"]
        for one in found.resources(stack, "AWS::EKS::Addon")
        if one["Properties"]["AddonName"] == "amazon-sagemaker-hyperpod-observability"
    ]
    assert "seen-observability:" in json.dumps(add_on["ConfigurationValues"])
