"""Network interface layouts, against the cases that AWS documents and that ran on hardware."""

from __future__ import annotations

import pytest

from catalog.instance_facts import InstanceFacts
from catalog.instances import INSTANCES, instance
from catalog.interfaces import Interface, network_interfaces, private_addresses
from catalog.pool import InterfaceType

LAYOUTS: tuple[InterfaceType, ...] = ("efa-only", "efa")
Triple = tuple[int, int, str]


def cards(first: int, last: int, device: int, kind: str) -> list[Triple]:
    """Return one interface for each card of a range."""
    return [(card, device, kind) for card in range(first, last + 1)]


PLAIN = [(0, 0, "interface")]
SAVING = [*PLAIN, (0, 1, "efa-only")]

CASES: list[tuple[str, InterfaceType, list[Triple], int]] = [
    # ParallelCluster's rule; p5, p5en and p6-b200 as PCS runs them on hardware.
    ("p4d.24xlarge", "efa", [(0, 0, "efa"), *cards(1, 3, 1, "efa")], 4),
    ("p5.48xlarge", "efa", [(0, 0, "efa"), *cards(1, 31, 1, "efa")], 32),
    ("p5e.48xlarge", "efa", [(0, 0, "efa"), *cards(1, 31, 1, "efa")], 32),
    ("p5en.48xlarge", "efa", [(0, 0, "efa"), *cards(1, 15, 1, "efa")], 16),
    ("p6-b200.48xlarge", "efa", [(0, 0, "efa"), *cards(1, 7, 1, "efa")], 8),
    # Card 0 has no EFA. PCS writes device 0 on the others; by the rule it is 1, as EC2 states room for 4.
    ("p6-b300.48xlarge", "efa", [*PLAIN, *cards(1, 16, 1, "efa")], 17),
    ("hpc7a.96xlarge", "efa", [(0, 0, "efa"), (1, 1, "efa")], 2),
    ("hpc6id.32xlarge", "efa", [(0, 0, "efa"), (1, 0, "efa")], 2),
    ("trn1.32xlarge", "efa", [(0, 0, "efa"), *cards(1, 7, 1, "efa")], 8),
    ("trn2.48xlarge", "efa", [(0, 0, "efa"), *cards(1, 15, 1, "efa")], 16),
    ("g5.8xlarge", "efa", [(0, 0, "efa")], 1),
    ("g6e.48xlarge", "efa", [(0, 0, "efa"), *cards(1, 3, 1, "efa")], 4),
    # The EC2 User Guide's layout of 2026.
    ("p4d.24xlarge", "efa-only", [*SAVING, *cards(1, 3, 0, "efa-only")], 1),
    ("p5.48xlarge", "efa-only", [*SAVING, *cards(1, 31, 0, "efa-only")], 1),
    ("p6-b300.48xlarge", "efa-only", [*PLAIN, *cards(1, 16, 0, "efa-only")], 1),
    ("g5.8xlarge", "efa-only", SAVING, 1),
    ("p5.4xlarge", "efa-only", SAVING, 1),
    # Its primary card takes one interface, so it must be the combined one.
    ("hpc6id.32xlarge", "efa-only", [(0, 0, "efa"), (1, 0, "efa-only")], 1),
    # Documented for P6e-GB200: one EFA a GPU, and those cards know no other kind.
    ("p6e-gb200.36xlarge", "efa-only", [*PLAIN, *((card, 0, "efa-only") for card in (1, 5, 9, 13))], 1),
    ("p6e-gb200.36xlarge", "efa", [*PLAIN, *((card, 0, "efa-only") for card in (1, 5, 9, 13))], 1),
    # Without EFA there is nothing to lay out.
    ("g5.xlarge", "efa-only", PLAIN, 1),
    ("g5.xlarge", "efa", PLAIN, 1),
    ("m6i.2xlarge", "efa", PLAIN, 1),
]


@pytest.mark.parametrize(("name", "layout", "expected", "addresses"), CASES)
def test_layout(name: str, layout: InterfaceType, expected: list[Triple], addresses: int) -> None:
    ports = network_interfaces(instance(name), layout)
    assert ports == tuple(Interface(card, device, kind) for card, device, kind in expected)  # type: ignore[arg-type]
    assert private_addresses(ports) == addresses


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)
def test_every_layout_is_one_that_ec2_takes(facts: InstanceFacts, layout: InterfaceType) -> None:
    ports = network_interfaces(facts, layout)
    slots = [(port.network_card_index, port.device_index) for port in ports]
    assert len(set(slots)) == len(slots)
    assert slots[0] == (0, 0)
    assert ports[0].interface_type != "efa-only"
    efas = [port for port in ports if port.interface_type != "interface"]
    assert len(efas) == facts.efa_interfaces
    assert len({port.network_card_index for port in efas}) == len(efas)
    assert 1 <= private_addresses(ports) <= len(ports)
    for port in ports:
        card = facts.network_cards[port.network_card_index]
        if card.max_interfaces is not None:
            assert port.device_index < card.max_interfaces
        assert port.interface_type != "efa" or card.efa
        assert port.interface_type != "efa-only" or card.efa_only


@pytest.mark.parametrize("facts", INSTANCES.values(), ids=lambda facts: facts.name)
def test_the_default_layout_takes_one_address_on_every_type(facts: InstanceFacts) -> None:
    assert private_addresses(network_interfaces(facts)) == 1
