"""HyperPod on EKS: the cluster's properties, order, rights, and agreement with what renderers write for its pools."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from catalog.hyperpod_eks import DEFAULT_KUBERNETES_VERSION, OBSERVABILITY, Dependencies
from catalog.instances import INSTANCES
from catalog.kubernetes import POOL_LABEL
from catalog.pool import OnDemand, Pool, TrainingPlan
from catalog.versions import ADD_ONS, UNPINNED_ADD_ONS
from tests.api_model import api_problems
from tests.synthesis import Synthesis
from trainforge.hyperpod.chart import chart_values
from trainforge.hyperpod.groups import GroupDefaults, GroupNetwork, LifecycleHook, kubernetes_group
from trainforge.hyperpod.observability_config import ObservabilityConfig

STACK = "HyperPodEksStack"
CONFIGURATION = "config/hyperpod-eks.yaml"
ROLE = "arn:aws:iam::111122223333:role/nodes"
HOOK = LifecycleHook("OnCreate", "s3://sagemaker-demo/hyperpod/disk/1", "on_create.sh")
MINIMAL = """
name: demo
region: us-west-2
availability_zones: [us-west-2a, us-west-2b]
pools: {cpu: {instance_type: c5.xlarge, nodes: 1}}
hyperpod_eks: {pools: [cpu], release_version: 1.2.3, access: [{principal_arn: "arn:aws:iam::111122223333:role/a"}]%s}
"""


def named(stack: Synthesis, kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of a type by their logical ids."""
    resources = stack.templates[STACK]["Resources"]
    return {name: one["Properties"] for name, one in resources.items() if one["Type"] == kind}


@pytest.fixture(scope="module")
def stack(synthesis: Callable[[str], Synthesis]) -> Synthesis:
    return synthesis(CONFIGURATION)


def group_of(instance_type: str, **more: Any) -> dict[str, Any]:
    pool = Pool("gpu", instance_type, 2, "us-west-2a", OnDemand(), **more)
    return kubernetes_group(
        GroupDefaults(execution_role_arn=ROLE, hook=HOOK),
        pool,
        labels={POOL_LABEL: "gpu"},
        taints=[{"Key": "nvidia.com/gpu", "Value": "true", "Effect": "NoSchedule"}],
        network=GroupNetwork("subnet-0123456789abcdef0", ("sg-0123456789abcdef0",)),
        deep_health_checks=True,
    )


@pytest.mark.parametrize("name", [name for name, facts in INSTANCES.items() if facts.hyperpod])
def test_a_group_of_every_type_that_hyperpod_offers_fits_the_api(name: str) -> None:
    request = {
        "ClusterName": "demo",
        "InstanceGroups": [group_of(name)],
        "Orchestrator": {"Eks": {"ClusterArn": "arn:aws:eks:us-west-2:111122223333:cluster/demo"}},
    }
    assert api_problems("sagemaker", "CreateCluster", request) == ""


def test_a_group_carries_labels_taints_and_capacity() -> None:
    group = group_of("p5.48xlarge")
    assert group["KubernetesConfig"]["Labels"] == {POOL_LABEL: "gpu"}
    assert group["KubernetesConfig"]["Taints"][0]["Effect"] == "NoSchedule"
    assert "SlurmConfig" not in group
    assert group["LifeCycleConfig"]["OnCreate"] == "on_create.sh"
    assert group["OnStartDeepHealthChecks"]
    plan = "arn:aws:sagemaker:us-west-2:111122223333:training-plan/a"
    pool = Pool("gpu", "p5.48xlarge", 2, "us-west-2a", TrainingPlan(plan))
    network = GroupNetwork("subnet-1", ("sg-1",))
    made = kubernetes_group(
        GroupDefaults(ROLE), pool, labels={}, taints=[], network=network, deep_health_checks=False
    )
    assert made["TrainingPlanArn"] == plan
    assert "Taints" not in made["KubernetesConfig"]
    assert "OnStartDeepHealthChecks" not in made


@pytest.mark.parametrize("name", ["trn1.32xlarge", "p6-b200.48xlarge"])
def test_deep_health_checks_are_those_of_eks(name: str) -> None:
    assert group_of(name)["OnStartDeepHealthChecks"] == ["InstanceStress", "InstanceConnectivity"]


def test_a_group_that_starts_empty_is_not_checked_for_its_connectivity() -> None:
    pool = Pool("gpu", "p5.48xlarge", 2, "us-west-2a", OnDemand())
    group = kubernetes_group(
        GroupDefaults(ROLE),
        pool,
        labels={},
        taints=[],
        network=GroupNetwork("subnet-1", ("sg-1",)),
        deep_health_checks=True,
        empty=True,
    )
    assert (group["InstanceCount"], group["OnStartDeepHealthChecks"]) == (0, ["InstanceStress"])


def test_the_cluster_is_orchestrated_by_the_stack_s_eks_cluster(stack: Synthesis) -> None:
    cluster = stack.only(STACK, "AWS::SageMaker::Cluster")
    eks_id = next(iter(named(stack, "AWS::EKS::Cluster")))
    assert cluster["Orchestrator"] == {"Eks": {"ClusterArn": {"Fn::GetAtt": [eks_id, "Arn"]}}}
    assert cluster["TieredStorageConfig"] == {"Mode": "Enable", "InstanceMemoryAllocationPercentage": 20}
    assert "AutoScaling" not in cluster
    assert "ClusterRole" not in cluster


def waits_for(stack: Synthesis, kind: str) -> set[str]:
    """Return the types of what the resource of a type waits for, at any distance."""
    resources = stack.templates[STACK]["Resources"]
    (start,) = [name for name, one in resources.items() if one["Type"] == kind]
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        one = resources[ahead.pop()]
        named = [one["DependsOn"]] if isinstance(one.get("DependsOn"), str) else one.get("DependsOn", [])
        text = json.dumps(one.get("Properties", {}))
        named = [*named, *(name for name in resources if f'"{name}"' in text)]
        for name in named:
            if name not in seen:
                seen.add(name)
                ahead.append(name)
    return {resources[name]["Type"] for name in seen}


def test_nodes_come_after_the_chart_and_leave_before_it(stack: Synthesis) -> None:
    """CloudFormation deletes in the opposite order of creation."""
    before = waits_for(stack, "AWS::SageMaker::Cluster")
    assert {"Custom::TrainforgeHyperPodChart", "AWS::EKS::Nodegroup", "Custom::CDKBucketDeployment"} <= before
    assert "AWS::SageMaker::Cluster" not in waits_for(stack, "Custom::TrainforgeHyperPodChart")
    assert "AWS::SageMaker::Cluster" in waits_for(stack, "Custom::TrainforgeClusterSchedulerConfig")


def test_the_autoscaler_has_a_role_of_its_own(synthesized: Callable[[str], Synthesis]) -> None:
    found = synthesized(MINIMAL % ", autoscaling: true")
    cluster = found.only(STACK, "AWS::SageMaker::Cluster")
    assert cluster["AutoScaling"] == {"Mode": "Enable", "AutoScalerType": "Karpenter"}
    role = named(found, "AWS::IAM::Role")[cluster["ClusterRole"]["Fn::GetAtt"][0]]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "hyperpod.sagemaker.amazonaws.com"}


def test_a_pool_that_karpenter_fills_starts_without_a_node(
    synthesized: Callable[[str], Synthesis],
) -> None:
    found = synthesized(MINIMAL % ", autoscaling: true, autoscaled_pools: [cpu]")
    (group,) = found.only(STACK, "AWS::SageMaker::Cluster")["InstanceGroups"]
    assert group["InstanceCount"] == 0
    assert group["ImageReleaseVersion"] == "1.2.3"


def test_parts_that_are_switched_off_are_absent(synthesized: Callable[[str], Synthesis]) -> None:
    found = synthesized(MINIMAL % ", training_operator: false")
    names = {one["AddonName"] for one in named(found, "AWS::EKS::Addon").values()}
    assert not {name for name in names if "hyperpod" in name or name == "cert-manager"}
    kinds = {one["Type"] for one in found.templates[STACK]["Resources"].values()}
    assert "AWS::EKS::PodIdentityAssociation" not in kinds
    assert "Custom::TrainforgeComputeQuota" not in kinds


def test_each_add_on_has_its_version_of_the_lock_or_is_listed_without(stack: Synthesis) -> None:
    lock, unpinned = ADD_ONS[DEFAULT_KUBERNETES_VERSION], UNPINNED_ADD_ONS[DEFAULT_KUBERNETES_VERSION]
    for one in named(stack, "AWS::EKS::Addon").values():
        name = one["AddonName"]
        assert one.get("AddonVersion") == lock.get(name)
        assert (name in lock) != (name in unpinned), name


def test_quotas_fit_the_api(stack: Synthesis) -> None:
    quotas = named(stack, "Custom::TrainforgeComputeQuota")
    assert len(quotas) == 2
    for quota in quotas.values():
        request = {
            "Name": quota["Name"],
            "ClusterArn": "arn:aws:sagemaker:us-west-2:111122223333:cluster/abcdefghijkl",
            **json.loads(quota["Fields"]),
        }
        assert api_problems("sagemaker", "CreateComputeQuota", request) == ""
    (policy,) = named(stack, "Custom::TrainforgeClusterSchedulerConfig").values()
    request = {
        "Name": policy["Name"],
        "ClusterArn": "arn:aws:sagemaker:us-west-2:111122223333:cluster/abcdefghijkl",
        **json.loads(policy["Fields"]),
    }
    assert api_problems("sagemaker", "CreateClusterSchedulerConfig", request) == ""


def test_the_chart_installs_the_chosen_parts_and_nothing_twice() -> None:
    values = chart_values(Dependencies(mpi_operator=False, nvidia_device_plugin=False), "us-west-2")
    assert values["trainingOperators"] == {"enabled": True}
    assert values["mpi-operator"] == {"enabled": False}
    assert values["nvidia-device-plugin"]["devicePlugin"] == {"enabled": False}
    assert "cert-manager" not in values, "the add-on brings it"
    assert values["health-monitoring-agent"] == {"enabled": True, "region": "us-west-2"}


def test_device_plugins_run_on_every_type_that_has_the_device_and_past_every_taint() -> None:
    """The chart's own lists lack types, and tolerate their own taints only: pods would never get devices."""
    values = chart_values(Dependencies(), "us-west-2")
    nvidia, efa = values["nvidia-device-plugin"], values["aws-efa-k8s-device-plugin"]
    required = nvidia["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    ((gpus,),) = [term["matchExpressions"] for term in required["nodeSelectorTerms"]]
    assert (gpus["key"], gpus["operator"]) == ("node.kubernetes.io/instance-type", "In")
    offered = {f"ml.{name}": facts for name, facts in INSTANCES.items() if facts.hyperpod}
    assert set(gpus["values"]) == {name for name, facts in offered.items() if facts.has_gpus}
    interfaces = efa["supportedInstanceLabels"]["values"]
    assert set(interfaces) == {name for name, facts in offered.items() if facts.supports_efa}
    assert {"ml.g4dn.xlarge", "ml.g5.8xlarge"} <= set(gpus["values"])
    assert {"ml.c6i.32xlarge", "ml.m6i.32xlarge", "ml.g4dn.8xlarge"} <= set(interfaces)
    assert nvidia["tolerations"] == efa["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize(
    ("region", "registry"),
    [
        ("eu-west-1", "602401143452.dkr.ecr.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "013241004608.dkr.ecr.us-gov-west-1.amazonaws.com"),
    ],
)
def test_the_efa_plugin_comes_from_the_region_s_own_registry(region: str, registry: str) -> None:
    efa = chart_values(Dependencies(), region)["aws-efa-k8s-device-plugin"]
    assert efa["image"] == {"repository": f"{registry}/eks/aws-efa-k8s-device-plugin"}


def test_the_chart_is_held_to_digests(stack: Synthesis) -> None:
    (chart,) = named(stack, "Custom::TrainforgeHyperPodChart").values()
    digests = [chart["Digest"], *chart["Archives"].values()]
    assert len(digests) == 3
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)
    assert chart["LeftOut"] == ["cert-manager"], "helm would fetch it though it is disabled"


TAINTED = """, taints: {cpu: [{key: example.com/team, value: vision},
  {key: aws.amazon.com/neuron, effect: no-execute}]}"""


def test_runs_tolerate_the_taints_of_their_pool(synthesized: Callable[[str], Synthesis]) -> None:
    found = synthesized(MINIMAL % TAINTED)
    (group,) = found.only(STACK, "AWS::SageMaker::Cluster")["InstanceGroups"]
    assert group["KubernetesConfig"]["Taints"] == [
        {"Key": "example.com/team", "Value": "vision", "Effect": "NoSchedule"},
        {"Key": "aws.amazon.com/neuron", "Effect": "NoExecute"},
    ]
    (parameter,) = [
        one for one in named(found, "AWS::SSM::Parameter").values() if str(one.get("Name")).endswith("/info")
    ]
    assert json.loads(_text(parameter["Value"]))["tolerations"] == {
        "cpu": [
            {"key": "example.com/team", "operator": "Equal", "value": "vision", "effect": "NoSchedule"},
            {"key": "aws.amazon.com/neuron", "operator": "Exists", "effect": "NoExecute"},
        ]
    }


def _text(value: Any) -> str:
    """Return a text of a template, each reference in it as a letter."""
    if isinstance(value, str):
        return value
    return "".join(part if isinstance(part, str) else "x" for part in value["Fn::Join"][1])


def test_no_device_plugin_and_no_kueue_of_ours_beside_hyperpod_s(stack: Synthesis) -> None:
    charts = named(stack, "Custom::AWSCDK-EKS-HelmChart").values()
    assert {one.get("Chart") for one in charts} & {
        "nvidia-device-plugin",
        "aws-efa-k8s-device-plugin",
        "kueue",
    } == set()


def test_teams_that_differ_by_a_dash_are_two(synthesized: Callable[[str], Synthesis]) -> None:
    teams = "{a-1: {nodes: {cpu: 1}}, a1: {nodes: {cpu: 1}}, a--1: {nodes: {cpu: 1}}}"
    found = synthesized(MINIMAL % f", task_governance: {{teams: {teams}}}")
    names = {one["Name"] for one in named(found, "Custom::TrainforgeComputeQuota").values()}
    assert names == {"a-1-quota", "a1-quota", "a--1-quota"}


def observability(stack: Synthesis) -> dict[str, Any]:
    (add_on,) = [one for one in named(stack, "AWS::EKS::Addon").values() if one["AddonName"] == OBSERVABILITY]
    return add_on


def test_the_collector_may_write_to_its_workspace_and_to_the_cluster_s_logs(stack: Synthesis) -> None:
    add_on = observability(stack)
    (association,) = add_on["PodIdentityAssociations"]
    role = association["RoleArn"]["Fn::GetAtt"][0]
    (workspace,) = named(stack, "AWS::APS::Workspace")
    (policy,) = [one for one in named(stack, "AWS::IAM::Policy").values() if one["Roles"] == [{"Ref": role}]]
    write, logs = policy["PolicyDocument"]["Statement"]
    assert write["Action"] == "aps:RemoteWrite"
    assert write["Resource"] == {"Fn::GetAtt": [workspace, "Arn"]}
    assert json.dumps(logs["Resource"]).endswith(
        ':log-group:/aws/sagemaker/Clusters/hpeks-hyperpod-eks/*"]]}'
    )
    assert not [action for action in logs["Action"] if "Get" in action or "*" in action]
    assert workspace in json.dumps(add_on["ConfigurationValues"])


def test_the_add_on_needs_a_node_of_hyperpod_s_and_leaves_before_it(stack: Synthesis) -> None:
    resources = stack.templates[STACK]["Resources"]
    (add_on,) = [
        one for one in resources.values() if one.get("Properties", {}).get("AddonName") == OBSERVABILITY
    ]
    (cluster,) = named(stack, "AWS::SageMaker::Cluster")
    assert cluster in add_on["DependsOn"]


@pytest.mark.parametrize(("retention", "policy"), [("ephemeral", "Delete"), ("durable", "Retain")])
def test_the_workspace_stays_where_retention_is_durable(
    synthesized: Callable[[str], Synthesis], retention: str, policy: str
) -> None:
    large = MINIMAL.replace("c5.xlarge", "c6i.4xlarge")
    found = synthesized(large % ", observability: {metric_days: 7}" + f"retention: {retention}\n")
    resources = found.templates[STACK]["Resources"].values()
    (workspace,) = [one for one in resources if one["Type"] == "AWS::APS::Workspace"]
    assert (workspace["DeletionPolicy"], workspace["UpdateReplacePolicy"]) == (policy, policy)
    assert workspace["Properties"]["WorkspaceConfiguration"] == {"RetentionPeriodInDays": 7}
    assert "logs:" not in json.dumps(
        [one for name, one in named(found, "AWS::IAM::Policy").items() if "ObservabilityRole" in name]
    )


def test_what_is_measured_follows_the_section() -> None:
    def levels(config: ObservabilityConfig) -> dict[str, str]:
        said = config.configuration(workspace_arn="arn", endpoint="https://workspace")
        return {name: one["level"] for name, one in said["metricsProvider"].items()}

    plain, much = (
        levels(ObservabilityConfig(efa=False)),
        levels(ObservabilityConfig(advanced=True, governance=True)),
    )
    assert {name for name, level in plain.items() if level == "DISABLED"} == {
        "networkMetrics",
        "taskGovernanceMetrics",
        "scalingMetrics",
    }
    assert {name for name, level in much.items() if level != "ADVANCED"} == {
        "inferenceMetrics",
        "scalingMetrics",
    }
    assert ObservabilityConfig().configuration(workspace_arn="", endpoint="")["logging"] == {"enabled": False}


def test_the_ebs_driver_attaches_volumes_to_this_clusters_nodes_only(stack: Synthesis) -> None:
    """SageMaker attaches them, since the nodes' instances are in an account of its own."""
    resources = stack.templates[STACK]["Resources"]
    (cluster,) = named(stack, "AWS::SageMaker::Cluster")
    (kubernetes,) = named(stack, "AWS::EKS::Cluster")
    (policy,) = [
        one
        for one in named(stack, "AWS::IAM::Policy").values()
        if "EbsDriverRole" in json.dumps(one["Roles"])
    ]
    granted = {json.dumps(one["Resource"]): one["Action"] for one in policy["PolicyDocument"]["Statement"]}
    assert granted == {
        json.dumps({"Ref": cluster}): [
            "sagemaker:AttachClusterNodeVolume",
            "sagemaker:DetachClusterNodeVolume",
        ],
        json.dumps({"Fn::GetAtt": [kubernetes, "Arn"]}): "eks:DescribeCluster",
    }
    (add_on,) = [
        one
        for one in resources.values()
        if one["Type"] == "AWS::EKS::Addon" and one["Properties"]["AddonName"] == "aws-ebs-csi-driver"
    ]
    assert any("EbsDriverRoleDefaultPolicy" in name for name in add_on["DependsOn"])
