"""The launch template of EC2 nodes, against the catalog's layouts and EC2's own model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from catalog.cluster_kinds import KINDS
from catalog.instances import INSTANCES
from catalog.interfaces import network_interfaces
from catalog.pool import (
    Capacity,
    CapacityBlock,
    InterfaceType,
    OnDemand,
    Pool,
    Reservation,
    ReservationGroup,
    Spot,
    TrainingPlan,
)
from tests.api_model import api_problems
from trainforge.launch_template import LaunchOptions, PoolLaunchTemplate, launch_template_data

GROUPS = ("sg-0123456789abcdef0",)
RESERVATION = "cr-0123456789abcdef0"
RESOURCE_GROUP = "arn:aws:resource-groups:us-west-2:111122223333:group/gpus"


def pool(
    instance_type: str,
    capacity: Capacity | None = None,
    *,
    threads: int | None = None,
    layout: InterfaceType | None = None,
) -> Pool:
    """Return a pool of two nodes."""
    return Pool(
        "gpu",
        instance_type,
        2,
        "us-west-2a",
        capacity or OnDemand(),
        threads_per_core=threads,
        interface_type=layout,
    )


def data(of: Pool, **options: Any) -> dict[str, Any]:
    """Return the launch template data of a pool."""
    return launch_template_data(of, LaunchOptions(KINDS["eks"], GROUPS, **options))


@pytest.mark.parametrize("layout", ["efa", "efa-only"])
@pytest.mark.parametrize("name", INSTANCES)
def test_every_type_has_the_interfaces_of_the_catalog_and_ec2_takes_them(
    name: str, layout: InterfaceType
) -> None:
    facts = INSTANCES[name]
    made = data(pool(name, layout=layout), user_data="IyE=", names_instance_type=True)
    given = [
        (port["NetworkCardIndex"], port["DeviceIndex"], port["InterfaceType"])
        for port in made.get("NetworkInterfaces", [])
    ]
    expected = [
        (port.network_card_index, port.device_index, port.interface_type)
        for port in network_interfaces(facts, layout)
    ]
    assert given == (expected if facts.supports_efa else [])
    assert Counter(kind.startswith("efa") for *_, kind in given)[True] == facts.efa_interfaces
    assert all(port["Groups"] == list(GROUPS) for port in made.get("NetworkInterfaces", []))
    assert ("SecurityGroupIds" in made) != ("NetworkInterfaces" in made)
    # The model's list of instance types lags behind EC2.
    made.pop("InstanceType")
    assert (
        api_problems("ec2", "CreateLaunchTemplate", {"LaunchTemplateName": "n", "LaunchTemplateData": made})
        == ""
    )


@pytest.mark.parametrize(
    ("capacity", "market", "target"),
    [
        (OnDemand(), None, None),
        (Spot(), None, None),
        (Reservation(RESERVATION), None, {"CapacityReservationId": RESERVATION}),
        (ReservationGroup(RESOURCE_GROUP), None, {"CapacityReservationResourceGroupArn": RESOURCE_GROUP}),
        (CapacityBlock(RESERVATION), "capacity-block", {"CapacityReservationId": RESERVATION}),
    ],
)
def test_capacity_is_requested_by_its_source(
    capacity: Capacity, market: str | None, target: dict[str, str] | None
) -> None:
    made = data(pool("p5.48xlarge", capacity))
    assert made.get("InstanceMarketOptions", {}).get("MarketType") == market
    expected = {"CapacityReservationTarget": target} if target else None
    assert made.get("CapacityReservationSpecification") == expected


def test_a_training_plan_never_becomes_on_demand_nodes() -> None:
    with pytest.raises(AssertionError, match="training-plan"):
        data(pool("p5.48xlarge", TrainingPlan("arn")))


def test_nodes_are_private_encrypted_and_keep_their_role_from_pods() -> None:
    made = data(pool("p5.48xlarge"))
    assert made["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert made["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert not any("AssociatePublicIpAddress" in port for port in made["NetworkInterfaces"])
    assert "InstanceType" not in made


@pytest.mark.parametrize(
    ("name", "threads", "expected"),
    [
        ("p5.48xlarge", 1, {"CoreCount": 96, "ThreadsPerCore": 1}),
        ("p5.48xlarge", 2, None),
        ("p5.48xlarge", None, None),
        ("hpc7a.96xlarge", 1, None),
    ],
)
def test_threads_are_asked_for_only_where_they_differ(
    name: str, threads: int | None, expected: dict[str, int] | None
) -> None:
    assert data(pool(name, threads=threads)).get("CpuOptions") == expected


@pytest.mark.parametrize(
    ("of", "groups"),
    [
        (pool("p5.48xlarge"), 1),
        (pool("p5.48xlarge", CapacityBlock(RESERVATION)), 0),
        (pool("m6i.2xlarge"), 0),
    ],
)
def test_a_placement_group_exists_only_where_it_helps(of: Pool, groups: int) -> None:
    stack = cdk.Stack()
    made = PoolLaunchTemplate(stack, "Nodes", pool=of, launch=LaunchOptions(KINDS["eks"], GROUPS))
    template = Template.from_stack(stack)
    template.resource_count_is("AWS::EC2::PlacementGroup", groups)
    (found,) = template.find_resources("AWS::EC2::LaunchTemplate").values()
    properties = found["Properties"]
    assert set(properties) == {"LaunchTemplateData"}, "a named template cannot be replaced"
    assert ("Placement" in properties["LaunchTemplateData"]) == bool(groups)
    assert stack.resolve(made.version) == {
        "Fn::GetAtt": [
            stack.get_logical_id(made.template),
            "LatestVersionNumber",
        ]
    }


@pytest.mark.parametrize(
    ("instance_type", "layout"),
    # The primary card of p4d holds 15 interfaces, that of p5 two.
    [("p4d.24xlarge", ["interface", "efa-only"]), ("p5.48xlarge", ["efa"])],
)
def test_a_spare_interface_keeps_a_place_on_the_primary_card(instance_type: str, layout: list[str]) -> None:
    """A service that attaches an interface of its own needs a place on card 0 that is free."""
    data = launch_template_data(pool(instance_type), LaunchOptions(KINDS["batch"], GROUPS))
    ports = [port for port in data["NetworkInterfaces"] if port["NetworkCardIndex"] == 0]
    assert [port["InterfaceType"] for port in ports] == layout
    assert len(ports) < (INSTANCES[instance_type].network_cards[0].max_interfaces or 0)
