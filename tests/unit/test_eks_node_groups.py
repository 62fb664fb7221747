"""Node groups from pools, against the catalog, EKS's and EC2's own models, and what the renderers write."""

from __future__ import annotations

import base64
import email
import json
from typing import Any

import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from catalog.eks import ami_type, capacity_type
from catalog.instances import INSTANCES, instance_types
from catalog.interfaces import network_interfaces
from catalog.kubernetes import EFA, GPU, INSTANCE_TYPE_LABEL, NEURON, POOL_LABEL
from catalog.node_groups import Repair, RepairAction, Scaling
from catalog.pool import (
    Capacity,
    CapacityBlock,
    OnDemand,
    Pool,
    Reservation,
    ReservationGroup,
    Spot,
    TrainingPlan,
)
from tests.api_model import api_problems
from trainforge.eks.node_group import (
    node_group_properties,
    node_launch,
    repair_config,
    taints,
)
from trainforge.eks.user_data import node_config, user_data
from trainforge.launch_template import launch_template_data
from workloads.render.all import render
from workloads.request import Request, resolve
from workloads.spec import Format

GROUPS = ("sg-0123456789abcdef0", "sg-0123456789abcdef1")
RESERVATION = "cr-0123456789abcdef0"
ACCELERATED = [name for name in instance_types() if INSTANCES[name].is_accelerated]
SOURCES: tuple[Capacity, ...] = (
    OnDemand(),
    Spot(),
    Reservation(RESERVATION),
    ReservationGroup("arn:aws:resource-groups:us-west-2:111122223333:group/gpus"),
    CapacityBlock(RESERVATION),
)


def pool(instance_type: str = "p5.48xlarge", capacity: Capacity | None = None, nodes: int = 4) -> Pool:
    return Pool("gpu", instance_type, nodes, "us-west-2a", capacity or OnDemand())


def api_input(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties as CreateNodegroup spells them: the first letter small; names of labels stay."""

    def small(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key[0].lower() + key[1:]: member if key == "Labels" else small(member)
                for key, member in value.items()
            }
        return [small(member) for member in value] if isinstance(value, list) else value

    made: dict[str, Any] = small(properties)
    return made


@pytest.mark.parametrize("capacity", SOURCES, ids=lambda capacity: str(capacity.source))
@pytest.mark.parametrize("name", ACCELERATED)
def test_every_accelerated_type_makes_a_group_and_a_template_that_aws_takes(
    name: str, capacity: Capacity
) -> None:
    facts, chosen = INSTANCES[name], pool(name, capacity)
    template = launch_template_data(chosen, node_launch(chosen, GROUPS))
    given = [
        (port["NetworkCardIndex"], port["DeviceIndex"], port["InterfaceType"])
        for port in template.get("NetworkInterfaces", [])
    ]
    layout = [
        (port.network_card_index, port.device_index, port.interface_type)
        for port in network_interfaces(facts, "efa-only")
    ]
    assert given == (layout if facts.supports_efa else [])
    for port in template.get("NetworkInterfaces", []):
        assert port["Groups"] == list(GROUPS)
        assert "SubnetId" not in port, "EKS refuses a template that chooses the subnet"
    group = node_group_properties(chosen)
    assert ("InstanceType" in template) != ("InstanceTypes" in group), "EKS takes the type in one place only"
    template.pop("InstanceType", None)
    made = {"LaunchTemplateName": "n", "LaunchTemplateData": template}
    assert api_problems("ec2", "CreateLaunchTemplate", made) == ""
    # EKS refuses these in a template of its node groups.
    assert not {"IamInstanceProfile", "InstanceInitiatedShutdownBehavior", "HibernationOptions"} & set(
        template
    )
    required = {
        "clusterName": "demo-eks",
        "nodegroupName": "gpu",
        "subnets": ["subnet-1"],
        "nodeRole": "arn:aws:iam::111122223333:role/nodes",
    }
    assert api_problems("eks", "CreateNodegroup", required | api_input(group)) == ""


@pytest.mark.parametrize(
    ("capacity", "kind", "market"),
    [
        (SOURCES[0], "ON_DEMAND", None),
        (SOURCES[1], "SPOT", None),
        (SOURCES[2], "ON_DEMAND", None),
        (SOURCES[3], "ON_DEMAND", None),
        (SOURCES[4], "CAPACITY_BLOCK", "capacity-block"),
    ],
)
def test_the_capacity_source(capacity: Capacity, kind: str, market: str | None) -> None:
    chosen = pool(capacity=capacity)
    template = launch_template_data(chosen, node_launch(chosen, GROUPS))
    assert capacity_type(capacity) == node_group_properties(chosen)["CapacityType"] == kind
    assert template.get("InstanceMarketOptions", {}).get("MarketType") == market
    assert ("CapacityReservationSpecification" in template) == (not isinstance(capacity, OnDemand | Spot))


def test_a_training_plan_never_becomes_on_demand_nodes() -> None:
    with pytest.raises(AssertionError, match="training-plan"):
        node_group_properties(pool(capacity=TrainingPlan("arn")))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("p5.48xlarge", "AL2023_x86_64_NVIDIA"),
        ("p6e-gb200.36xlarge", "AL2023_ARM_64_NVIDIA"),
        ("trn2.48xlarge", "AL2023_x86_64_NEURON"),
        ("c6i.4xlarge", "AL2023_x86_64_STANDARD"),
    ],
)
def test_the_image_goes_by_devices_and_processor(name: str, image: str) -> None:
    assert ami_type(INSTANCES[name]) == image


def test_every_type_of_the_catalog_has_an_image() -> None:
    assert all(ami_type(INSTANCES[name]) for name in instance_types())


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (None, {"MinSize": 0, "MaxSize": 4, "DesiredSize": 4}),
        (Scaling(desired=0), {"MinSize": 0, "MaxSize": 4, "DesiredSize": 0}),
        (Scaling(minimum=2), {"MinSize": 2, "MaxSize": 4, "DesiredSize": 4}),
    ],
)
def test_number_of_running_nodes(scaling: Scaling | None, expected: dict[str, int]) -> None:
    assert node_group_properties(pool(), scaling=scaling)["ScalingConfig"] == expected


@pytest.mark.parametrize(
    ("chosen", "strategy"),
    [
        (pool(), "MINIMAL"),
        (pool("c6i.4xlarge"), "DEFAULT"),
        (pool("c6i.4xlarge", Spot()), "DEFAULT"),
        (pool("c6i.4xlarge", Reservation(RESERVATION)), "MINIMAL"),
    ],
)
def test_scarce_nodes_are_ended_before_their_successors_start(chosen: Pool, strategy: str) -> None:
    assert node_group_properties(chosen)["UpdateConfig"] == {"MaxUnavailable": 1, "UpdateStrategy": strategy}


def test_repair_with_its_details() -> None:
    assert repair_config(None) == {"Enabled": False}
    assert repair_config(Repair()) == {"Enabled": True}
    detailed = Repair(20, 1, (RepairAction("Condition", "Reason", 10, "none"),))
    assert repair_config(detailed) == {
        "Enabled": True,
        "MaxUnhealthyNodeThresholdPercentage": 20,
        "MaxParallelNodesRepairedCount": 1,
        "NodeRepairConfigOverrides": [
            {
                "NodeMonitoringCondition": "Condition",
                "NodeUnhealthyReason": "Reason",
                "MinRepairWaitTimeMins": 10,
                "RepairAction": "NoAction",
            }
        ],
    }


@pytest.mark.parametrize("name", ["p5.48xlarge", "g5.8xlarge", "trn1.32xlarge"])
def test_local_disks_become_one_by_a_message_that_eks_can_merge(name: str) -> None:
    message = email.message_from_bytes(base64.b64decode(user_data(INSTANCES[name])))
    assert message.get_content_type() == "multipart/mixed"
    assert not message.defects
    part, *others = list(message.walk())[1:]
    assert not others
    assert part.get_content_type() == "application/node.eks.aws"
    text = part.get_payload()
    assert isinstance(text, str)
    assert yaml.safe_load(text) == node_config(INSTANCES[name])
    assert json.loads(text)["spec"]["instance"]["localStorage"] == {"strategy": "RAID0"}


def test_a_type_without_local_disks_needs_no_user_data() -> None:
    assert user_data(INSTANCES["c6i.4xlarge"]) == ""


def pod_of(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a job's pod and the devices that its container asks for, in either format."""
    spec = document["spec"]
    if document["kind"] == "PyTorchJob":
        pod = spec["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
        return pod, pod["containers"][0]["resources"].get("limits", {})
    template = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    return template["template"]["spec"]["template"]["spec"], spec["trainer"]["resourcesPerNode"].get(
        "limits", {}
    )


@pytest.mark.parametrize("format_", [Format.TRAINJOB, Format.PYTORCHJOB])
@pytest.mark.parametrize("name", instance_types())
def test_runs_go_to_the_pool_s_nodes_and_ask_for_what_is_there(name: str, format_: Format) -> None:
    """The renderers' selector, tolerations and devices, against labels, taints and devices of the node group."""
    facts = INSTANCES[name]
    workload, preset = ("fsdp", "llama3-1-8b") if facts.has_gpus else ("cpu-ddp", "tiny")
    run = resolve(Request(workload, "eks", preset, instance_type=name, nodes=2, pool="gpu")).run
    assert run is not None, f"'{workload}' does not run on '{name}'"
    pod, asked = pod_of(yaml.safe_load(render(run, format_, ClusterInfo.example("eks", [workload]))))
    group = node_group_properties(pool(name))
    # EKS itself sets the label of the type, to the one that the group or its template names. Pools may share one.
    labels = {INSTANCE_TYPE_LABEL: group["InstanceTypes"][0], **group["Labels"]}
    assert pod["nodeSelector"] == {key: labels[key] for key in (INSTANCE_TYPE_LABEL, POOL_LABEL)}
    tolerated = {one["key"] for one in pod["tolerations"] if one["effect"] == "NoSchedule"}
    assert {taint["Key"] for taint in taints(facts)} == tolerated
    assert all(one["operator"] == "Exists" for one in pod["tolerations"])
    launched = launch_template_data(pool(name), node_launch(pool(name), GROUPS))
    devices = [port["InterfaceType"] for port in launched.get("NetworkInterfaces", [])]
    if facts.has_gpus:
        assert int(asked[GPU]) == facts.accelerators
        assert int(asked.get(EFA, 0)) == sum(kind.startswith("efa") for kind in devices)
    else:
        assert NEURON not in asked
