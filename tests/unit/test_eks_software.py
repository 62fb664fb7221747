"""The software of an EKS cluster as its stack installs it: choices, rights, order, and nothing unneeded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from catalog.charts import CHARTS, EFA_DEVICE_PLUGIN_CHART, EFA_DRA_CHART, GPU_OPERATOR_CHART
from catalog.devices import NO_DEVICES, Devices
from catalog.eks import DEFAULT_KUBERNETES_VERSION, KUBERNETES_VERSIONS
from catalog.eks_registries import eks_registry
from catalog.instances import INSTANCES
from catalog.kubernetes import BUCKET_CLAIM, GPU, NEURON, SHARED_CLAIM
from catalog.pool import OnDemand, Pool
from catalog.regions import partition, regions
from catalog.versions import ADD_ONS, UNPINNED_ADD_ONS
from tests.synthesis import Synthesis
from tests.unit.bare_cluster import bare_cluster
from trainforge.eks.devices import device_charts
from trainforge.eks.job import Job

STACK = "EksStack"
HELM = ("Custom::AWSCDK-EKS-HelmChart", "Custom::TrainforgeRepositoryChart")
MANIFEST = "Custom::AWSCDK-EKS-KubernetesResource"
BASE = """
name: test
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools:
  gpu: {instance_type: p5.48xlarge, nodes: 2}
  cpu: {instance_type: c6i.4xlarge, nodes: 2}
storage: {lustre: {capacity_gib: 1200}}
eks:
  pools: [gpu, cpu]
  access: [{principal_arn: "arn:aws:iam::111122223333:role/platform"}]
"""
BARE = """
name: test
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools: {cpu: {instance_type: c6i.4xlarge, nodes: 2}}
eks:
  pools: [cpu]
  access: [{principal_arn: "arn:aws:iam::111122223333:role/platform"}]
  software: {jobs: [], bucket_claim: false, add_ons: {metrics-server: null}}
"""
ALL = (
    BASE
    + """
  add_on_versions: {kube-proxy: eks-default, coredns: v1.13.2-eksbuild.4}
  software:
    jobs: [trainer, training-operator, mpi-operator, kuberay]
    queues: {research: {nodes: {gpu: 2, cpu: 1}}, other: {nodes: {cpu: 1}}}
    cert_manager: true
    add_ons: {snapshot-controller: {version: v1.0.0-eksbuild.1, configuration: {replicas: 1}}}
workloads:
  - {workload: cpu-ddp, preset: tiny, pool: cpu, clusters: [eks], apply: true}
"""
)


def releases(synthesis: Synthesis) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the Helm releases by name: the resource's id, and the resource."""
    return {
        resource["Properties"]["Release"]: (logical_id, resource)
        for logical_id, resource in synthesis.templates[STACK]["Resources"].items()
        if resource["Type"] in HELM
    }


def add_ons(synthesis: Synthesis) -> dict[str, dict[str, Any]]:
    found = synthesis.resources(STACK, "AWS::EKS::Addon")
    return {resource["Properties"]["AddonName"]: resource["Properties"] for resource in found}


def values(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a release's values; tokens of other stacks in them read as TOKEN."""
    text = resource["Properties"]["Values"]
    if isinstance(text, dict):
        text = "".join(part if isinstance(part, str) else "TOKEN" for part in text["Fn::Join"][1])
    found: dict[str, Any] = json.loads(text)
    return found


def test_by_default_devices_storage_and_trainer(synthesized: Callable[[str], Synthesis]) -> None:
    synthesis = synthesized(BASE)
    assert set(releases(synthesis)) == {
        "nvidia-device-plugin",
        "aws-efa-k8s-device-plugin",
        "kubeflow-trainer",
        "torch-runtime",
        "training-namespace",
    }
    assert set(add_ons(synthesis)) == {
        "aws-ebs-csi-driver",
        "aws-fsx-csi-driver",
        "aws-mountpoint-s3-csi-driver",
        "coredns",
        "eks-node-monitoring-agent",
        "eks-pod-identity-agent",
        "kube-proxy",
        "metrics-server",
        "vpc-cni",
    }


def test_without_workloads_nothing_is_shipped(synthesized: Callable[[str], Synthesis]) -> None:
    synthesis = synthesized(BARE)
    for kind in (*HELM, MANIFEST, "AWS::Lambda::LayerVersion"):
        assert synthesis.resources(STACK, kind) == []
    assert "metrics-server" not in add_ons(synthesis)
    assert "aws-mountpoint-s3-csi-driver" not in add_ons(synthesis)
    assert "aws-fsx-csi-driver" not in add_ons(synthesis), "there is no file system to mount"


def test_every_chart_of_others_is_pinned_and_every_add_on_wins_conflicts(
    synthesized: Callable[[str], Synthesis],
) -> None:
    synthesis = synthesized(ALL)
    pinned = {chart.release: chart for chart in CHARTS}
    for name, (_, resource) in releases(synthesis).items():
        given = resource["Properties"]
        if "ChartAssetURL" in given:
            assert name not in pinned
            continue
        assert given["Version"] == pinned[name].version
        assert given["Repository"] == pinned[name].repository
        if given["Repository"].startswith("oci://"):
            assert given["Repository"].endswith(f"/{given['Chart']}"), "the function finds the chart by it"
    for properties in add_ons(synthesis).values():
        assert properties["ResolveConflicts"] == "OVERWRITE"
    lock, unpinned = ADD_ONS[DEFAULT_KUBERNETES_VERSION], UNPINNED_ADD_ONS[DEFAULT_KUBERNETES_VERSION]
    for name, properties in add_ons(synthesis).items():
        if name == "kube-proxy":
            assert "AddonVersion" not in properties, "the configuration leaves it to EKS"
        elif name not in ("snapshot-controller", "coredns"):
            assert properties.get("AddonVersion") == lock.get(name)
            assert (name in lock) != (name in unpinned), "each add-on is pinned, or listed with the reason"
    assert add_ons(synthesis)["coredns"]["AddonVersion"] == "v1.13.2-eksbuild.4"
    chosen = add_ons(synthesis)["snapshot-controller"]
    assert chosen["AddonVersion"] == "v1.0.0-eksbuild.1"
    assert json.loads(chosen["ConfigurationValues"]) == {"replicas": 1}
    assert "cert-manager" in add_ons(synthesis)


def test_drivers_have_roles_of_their_own_and_the_least_right(synthesized: Callable[[str], Synthesis]) -> None:
    synthesis = synthesized(BASE)
    found = add_ons(synthesis)
    accounts = {
        name: [one["ServiceAccount"] for one in properties.get("PodIdentityAssociations", [])]
        for name, properties in found.items()
    }
    assert {name: account for name, account in accounts.items() if account} == {
        "aws-ebs-csi-driver": ["ebs-csi-controller-sa"],
        "aws-mountpoint-s3-csi-driver": ["s3-csi-driver-sa"],
        "vpc-cni": ["aws-node"],
    }
    policies = json.dumps([one["Properties"] for one in synthesis.resources(STACK, "AWS::IAM::Policy")])
    assert "sagemaker:" not in policies, "there is no HyperPod cluster"
    (policy,) = [
        policy["Properties"]["PolicyDocument"]["Statement"]
        for policy in synthesis.resources(STACK, "AWS::IAM::Policy")
        if "BucketDriverRole" in json.dumps(policy["Properties"]["Roles"])
    ]
    actions = {action for one in policy if one["Effect"] == "Allow" for action in _listed(one["Action"])}
    assert actions == {
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }
    for one in policy:
        named = json.dumps(one["Resource"])
        assert "Data" in named, "the data bucket"
        assert "Scripts" not in named
        assert "AccessLogs" not in named
    # Pods may not change the programs that other people's jobs are launched from.
    [denied] = [one for one in policy if one["Effect"] == "Deny"]
    assert set(denied["Action"]) == {"s3:DeleteObject", "s3:PutObject"}
    assert "/launch/*" in json.dumps(denied["Resource"])
    assert "Condition" not in denied


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_things_come_before_what_needs_them(synthesized: Callable[[str], Synthesis]) -> None:
    synthesis = synthesized(ALL)
    found = releases(synthesis)
    ids = {name: logical_id for name, (logical_id, _) in found.items()}

    def waits(name: str) -> set[str]:
        return set(found[name][1]["DependsOn"])

    assert ids["kubeflow-trainer"] in waits("torch-runtime")
    for name in ("kubeflow-trainer", "kueue", "torch-runtime", "training-namespace"):
        assert found[name][1]["Properties"]["Wait"] is True
    assert {ids["kubeflow-trainer"], ids["training-operator"], ids["mpi-operator"], ids["kuberay"]} <= waits(
        "kueue"
    )
    drivers = {
        logical_id
        for logical_id, resource in synthesis.templates[STACK]["Resources"].items()
        if resource["Type"] == "AWS::EKS::Addon" and "csi" in resource["Properties"]["AddonName"]
    }
    before = {ids[name] for name in set(ids) - {"training-namespace"}}
    assert drivers | before <= waits("training-namespace"), "at the end they outlive what they must let go of"
    (job,) = synthesis.resources(STACK, MANIFEST)
    groups = [name for name in synthesis.templates[STACK]["Resources"] if name.startswith("Pool")]
    assert ids["training-namespace"] in job["DependsOn"]
    assert any(name in job["DependsOn"] for name in groups)


def test_the_namespace_of_jobs_has_claims_and_queues(
    synthesized: Callable[[str], Synthesis],
) -> None:
    _, release = releases(synthesized(ALL))["training-namespace"]
    objects = values(release)["objects"]
    named = {(one["kind"], one["metadata"]["name"]) for one in objects}
    assert ("Namespace", "training") in named
    assert {("PersistentVolumeClaim", claim) for claim in (SHARED_CLAIM, BUCKET_CLAIM)} <= named
    assert {("LocalQueue", name) for name in ("default", "research", "other")} <= named
    (volume,) = [one for one in objects if one["metadata"]["name"] == "test-training-lustre"]
    assert volume["spec"]["csi"]["volumeHandle"] == "TOKEN", "the file system of the storage stack"


def test_another_namespace_of_jobs_is_another_resource(synthesized: Callable[[str], Synthesis]) -> None:
    """The function of the CDK never uninstalls a release because its name changed."""
    before, _ = releases(synthesized(ALL))["training-namespace"]
    after, _ = releases(synthesized(ALL.replace("eks:\n", "eks:\n  namespace: other\n")))["other-namespace"]
    assert before != after


def test_a_job_that_is_applied_is_in_its_namespace_and_named_by_its_content(
    synthesized: Callable[[str], Synthesis],
) -> None:
    (job,) = synthesized(ALL).resources(STACK, MANIFEST)
    text = job["Properties"]["Manifest"]
    joined = "".join(part if isinstance(part, str) else "TOKEN" for part in text["Fn::Join"][1])
    (document,) = json.loads(joined)
    assert document["kind"] == "TrainJob"
    assert document["metadata"]["namespace"] == "training"
    assert document["metadata"]["name"].startswith("cpu-ddp-tiny-")


def _job(folder: Path, manifest: str) -> tuple[str, str]:
    stack, cluster = bare_cluster(folder)
    image = f"{cdk.Aws.ACCOUNT_ID}.example/image"
    job = Job(stack, "Job", cluster=cluster, manifest=manifest.replace("IMAGE", image))
    (logical_id,) = Template.from_stack(stack).find_resources(MANIFEST)
    return job.name, logical_id


def test_another_text_is_another_job_and_the_same_one_is_left_alone(tmp_path: Path) -> None:
    long = "n" * 63
    text = (
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: NAME, namespace: training}\nspec: {image: 'IMAGE'}"
    )
    first = _job(tmp_path / "1", text.replace("NAME", "train"))
    assert _job(tmp_path / "2", text.replace("NAME", "train")) == first
    name, logical_id = _job(tmp_path / "3", text.replace("NAME", "train") + "\n# comment\nmore: 1")
    assert name != first[0]
    assert logical_id != first[1], "the old job is another resource, which goes"
    assert len(_job(tmp_path / "4", text.replace("NAME", long))[0]) == 63


# Devices


HERE = {"region": "us-west-2", "kubernetes_version": "1.35"}


def pool(instance_type: str) -> Pool:
    return Pool("pool", instance_type, 2, "us-west-2a", OnDemand())


@pytest.mark.parametrize("name", sorted(INSTANCES))
def test_every_type_gets_what_counts_its_devices_and_nothing_else(name: str) -> None:
    facts = INSTANCES[name]
    found = {one.chart.name: one.values for one in device_charts([pool(name)], Devices(), **HERE)}
    assert ("nvidia-device-plugin" in found) is facts.has_gpus
    assert ("neuron-helm-chart" in found) is facts.has_neuron
    assert ("aws-efa-k8s-device-plugin" in found) is (facts.efa_interfaces > 0)
    for chosen in found.values():
        assert name in json.dumps(chosen), "on nodes of the pools' own types"
    assert device_charts([pool(name)], NO_DEVICES, **HERE) == []


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_neuron_s_scheduler_is_at_most_one_version_older_than_the_cluster(version: str) -> None:
    """Kubernetes supports no other (Version Skew Policy); the chart's own is 1.31."""
    for enabled in (True, False):
        (neuron,) = device_charts(
            [pool("trn2.48xlarge")],
            Devices(efa="none", neuron_scheduler=enabled),
            region="us-west-2",
            kubernetes_version=version,
        )
        custom = neuron.values["scheduler"]["customScheduler"]
        assert neuron.values["scheduler"]["enabled"] is enabled
        if not enabled:
            assert "image" not in custom
            continue
        minor = int(custom["image"]["tag"].split(".")[1])
        assert int(version.split(".")[1]) - 1 <= minor <= int(version.split(".")[1])


def test_plugins_go_where_taints_keep_others_away() -> None:
    charts = device_charts([pool("p5.48xlarge")], Devices(), **HERE)
    assert len(charts) > 1
    for one in charts:
        assert {toleration["key"] for toleration in one.values["tolerations"]} == {GPU, NEURON}


@pytest.mark.parametrize(
    ("region", "registry"),
    [
        ("us-west-2", "602401143452.dkr.ecr.us-west-2.amazonaws.com"),
        ("eu-central-1", "602401143452.dkr.ecr.eu-central-1.amazonaws.com"),
        ("eu-central-2", "900612956339.dkr.ecr.eu-central-2.amazonaws.com"),
        ("us-gov-west-1", "013241004608.dkr.ecr.us-gov-west-1.amazonaws.com"),
        ("cn-northwest-1", "961992271922.dkr.ecr.cn-northwest-1.amazonaws.com.cn"),
    ],
)
@pytest.mark.parametrize("devices", [Devices(), Devices(efa="dra")])
def test_images_of_eks_come_from_the_region_s_own_registry(
    devices: Devices, region: str, registry: str
) -> None:
    """The charts name that of us-west-2, which other partitions do not reach."""
    found = {
        one.chart: one.values
        for one in device_charts([pool("p5.48xlarge")], devices, region=region, kubernetes_version="1.35")
    }
    name, chart = (
        ("dranet", EFA_DRA_CHART)
        if devices.efa == "dra"
        else ("aws-efa-k8s-device-plugin", EFA_DEVICE_PLUGIN_CHART)
    )
    assert found[chart]["image"] == {"repository": f"{registry}/eks/{name}"}


def test_every_region_that_can_have_a_cluster_has_a_registry() -> None:
    without = {region for region in regions() if eks_registry(region) is None}
    assert {partition(region) for region in without} <= {"aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"}
    (efa,) = device_charts(
        [pool("c6i.32xlarge")], Devices(), region=sorted(without)[0], kubernetes_version="1.35"
    )
    assert "image" not in efa.values, "the chart keeps its own"


def test_the_gpu_operator_takes_the_plugin_s_place_and_dra_that_of_efa_s() -> None:
    charts = [
        one.chart
        for one in device_charts([pool("p5.48xlarge")], Devices(gpu="gpu-operator", efa="dra"), **HERE)
    ]
    assert charts == [GPU_OPERATOR_CHART, EFA_DRA_CHART]
    assert EFA_DEVICE_PLUGIN_CHART not in charts
    (operator, _) = device_charts([pool("p5.48xlarge")], Devices(gpu="gpu-operator", efa="dra"), **HERE)
    assert operator.values["driver"] == operator.values["toolkit"] == {"enabled": False}, "the image has both"
    assert "dcgmExporter" not in operator.values, "its pods would wait for a ConfigMap that nobody makes"
