"""Network interfaces of a node: the card index, the device index and the type of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from catalog.instance_facts import InstanceFacts, NetworkCard
from catalog.pool import DEFAULT_LAYOUT, InterfaceType


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface as a launch template lists it.

    `interface` is a plain one (ENA, takes an IP address), `efa` an EFA with ENA (takes an IP address),
    `efa-only` an EFA without (takes none).
    """

    network_card_index: int
    device_index: int
    interface_type: Literal["interface", "efa", "efa-only"]


def network_interfaces(
    instance: InstanceFacts, layout: InterfaceType = DEFAULT_LAYOUT, *, spare: bool = False
) -> tuple[Interface, ...]:
    """Return the interfaces of a node, by card and device; the first is the primary one.

    `efa-only` is the layout that the EC2 User Guide recommends since 2026 ("Maximize network bandwidth on
    instances with multiple network cards"): a plain primary interface, and on every card that carries an
    EFA an `efa-only` beside it, so that a node takes one IP address whatever the number of its cards. A
    primary card that holds a single interface gets a combined `efa`, as AWS ParallelCluster does.

    `efa` is the older layout (ParallelCluster's rule, and what PCS asks for): one combined `efa` a card, at
    device 0 on the primary card and on cards that hold a single interface, at device 1 on the others.

    A type without EFA gets one plain interface in either layout. `spare` leaves room on the primary card, where it
    has any, for an interface that a service attaches later: then a combined `efa` takes the place of two.
    """
    primary, *others = instance.network_cards
    chosen = [*_primary(primary, primary.index in instance.efa_cards, layout, spare)]
    chosen += [_secondary(card, layout) for card in others if card.index in instance.efa_cards]
    return tuple(chosen)


def _primary(
    card: NetworkCard, carries_efa: bool, layout: InterfaceType, spare: bool
) -> tuple[Interface, ...]:
    """Return the interfaces of the card that holds the primary interface."""
    plain = Interface(card.index, 0, "interface")
    if not carries_efa:
        return (plain,)
    if layout == "efa-only" and card.efa_only and (card.max_interfaces or 1) > 1 + spare:
        return (plain, Interface(card.index, 1, "efa-only"))
    return (Interface(card.index, 0, "efa"),)


def _secondary(card: NetworkCard, layout: InterfaceType) -> Interface:
    """Return the EFA of a further card."""
    if card.efa_only and (layout == "efa-only" or not card.efa):
        return Interface(card.index, 0, "efa-only")
    # An interface with an IP address at device 0 of a second card competes with the primary one for the
    # default route (cloud-init goes by the device index), so it goes to device 1 where there is one.
    return Interface(card.index, 1 if (card.max_interfaces or 1) > 1 else 0, "efa")


def private_addresses(ports: Iterable[Interface]) -> int:
    """Return how many private IPv4 addresses of its subnet a node takes: one for each interface with ENA."""
    return sum(port.interface_type != "efa-only" for port in ports)


def has_spare(instance: InstanceFacts, layout: InterfaceType = DEFAULT_LAYOUT) -> bool:
    """Return whether the primary card has room for one more interface; true if no source states its maximum."""
    card = instance.network_cards[0]
    taken = sum(
        port.network_card_index == card.index for port in network_interfaces(instance, layout, spare=True)
    )
    return card.max_interfaces is None or taken < card.max_interfaces


def groups_on_interfaces(instance: InstanceFacts) -> bool:
    """Return whether a node's security groups are on the interfaces that its launch template lists, as EFA needs.

    EC2 takes no groups beside a list of interfaces, and Batch none in the compute environment either
    (aws/aws-cdk#21577): "Either compute environment Security Groups or Network Interfaces in Launch template are
    exclusively allowed".
    """
    return instance.supports_efa
