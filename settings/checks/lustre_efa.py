"""Rules on Lustre over EFA: a large enough file system, in the zone of clients that have EFA."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.storage import LUSTRE_EFA_VERIFIED, lustre_efa_smallest_gib, reaches_lustre_by_efa
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import Use, facts, uses
from settings.checks.storage import made_lustre
from settings.deployment import Settings
from settings.parser.values import shown


def _too_small(settings: Settings, *, verified: bool) -> Iterator[Problem]:
    lustre = made_lustre(settings)
    if lustre is None or not lustre.efa:
        return
    throughput = lustre.throughput_mbps_per_tib
    smallest = lustre_efa_smallest_gib(throughput)
    if smallest and lustre.capacity_gib < smallest and (throughput in LUSTRE_EFA_VERIFIED) is verified:
        yield Problem(
            "storage.lustre.capacity_gib",
            lustre.capacity_gib,
            f"with EFA and {throughput} MB/s per TiB a Lustre file system holds {smallest} GiB or more, "
            f"not {lustre.capacity_gib}",
            f"set 'capacity_gib: {smallest}', a higher throughput, or 'efa: false'",
        )


@error("lustre-efa-capacity", leans_on=("storage.lustre.throughput_mbps_per_tib",))
def _capacity(subject: Subject) -> Iterator[Problem]:
    """FSx makes EFA-enabled file systems from a size on, the smaller the faster each TiB is."""
    yield from _too_small(subject.settings, verified=True)


@warning("lustre-efa-capacity-unverified", leans_on=("storage.lustre.throughput_mbps_per_tib",))
def _capacity_unverified(subject: Subject) -> Iterator[Problem]:
    """As `lustre-efa-capacity`, for throughputs whose minimum is known at second hand only."""
    yield from _too_small(subject.settings, verified=False)


@error("lustre-efa-zone", leans_on=("availability_zones", "storage.lustre", "pools"))
def _zone(subject: Subject) -> Iterator[Problem]:
    """EFA does not leave a zone: clients in another one fall back to TCP without a word.

    It stops synthesis where no pool at all lies in the file system's zone.
    """
    settings = subject.settings
    zone, clients = _zone_and_clients(settings)
    if zone and clients and all(other != zone for _, other, _ in clients):
        explicit = settings.storage.lustre and settings.storage.lustre.availability_zone
        yield Problem(
            "storage.lustre.availability_zone" if explicit else "storage.lustre",
            zone,
            f"the Lustre file system lies in zone '{shown(zone)}', and none of its clients does: EFA does "
            "not leave a zone",
            f"set 'storage.lustre.availability_zone: {clients[0][1]}'",
        )


@warning("lustre-efa-client-zone", leans_on=("availability_zones", "storage.lustre", "pools"))
def _client_zone(subject: Subject) -> Iterator[Problem]:
    """A pool in another zone than the EFA-enabled file system uses TCP across zones, slower and paid for."""
    zone, clients = _zone_and_clients(subject.settings)
    if not any(other == zone for _, other, _ in clients):
        return
    for name, other, _ in clients:
        if other != zone:
            yield Problem(
                f"pools.{name}.availability_zone",
                other,
                f"pool '{name}' lies in zone '{shown(other)}' and reaches the Lustre file system in "
                f"'{shown(zone)}' over TCP only",
            )


@warning("lustre-efa-clients", leans_on=("pools",))
def _clients(subject: Subject) -> Iterator[Problem]:
    """Lustre over EFA needs clients on Nitro v4 or later with EFA, and not Trainium2.

    Source: FSx for Lustre user guide, "Working with EFA-enabled file systems". Others fall back to TCP.
    """
    zone, clients = _zone_and_clients(subject.settings)
    if zone and clients and not any(reaches for _, _, reaches in clients):
        yield Problem(
            "storage.lustre.efa",
            True,
            "no pool has nodes that can reach a Lustre file system over EFA: all of them use TCP",
            "set 'efa: false', which allows a smaller file system",
        )


@warning("lustre-efa-client", leans_on=("pools", "parallelcluster", "hyperpod.lifecycle_scripts"))
def _client_setup(subject: Subject) -> Iterator[Problem]:
    """A node reaches Lustre over EFA only after its client (LNet) is configured for it; TCP is the default.

    Source: FSx for Lustre user guide, "Working with EFA-enabled file systems". The nodes of HyperPod on EKS are set up
    for it by their script; elsewhere scripts or images of one's own can do it.
    """
    hyperpod, cluster = subject.settings.hyperpod, subject.settings.parallelcluster
    unaided = {
        "hyperpod": hyperpod and not hyperpod.lifecycle_scripts,
        "parallelcluster": cluster and not cluster.image.ami_id,
        "eks": subject.settings.eks,
        "batch": subject.settings.batch,
    }
    names = [
        name
        for name, section in unaided.items()
        if section and any(use.cluster == name and _over_efa(use) for use in uses(subject.settings))
    ]
    lustre = made_lustre(subject.settings)
    if lustre and lustre.efa and names:
        yield Problem(
            "storage.lustre.efa",
            True,
            f"nothing here sets up the Lustre client (LNet) of nodes of {', '.join(names)} for EFA: they mount the "
            "file system over TCP until that is done",
            "configure the clients as the FSx for Lustre user guide says, or set 'efa: false'",
        )


def _over_efa(use: Use) -> bool:
    """Return whether the nodes of a pool can reach Lustre over EFA."""
    found = facts(use.pool.instance_type) if use.pool else None
    return bool(found and found.supports_efa and reaches_lustre_by_efa(found))


def _zone_and_clients(settings: Settings) -> tuple[str, list[tuple[str, str, bool]]]:
    """Return the zone of a Lustre file system that is to be made with EFA, and its clients once each.

    A client is a pool's name, its zone, and whether its type reaches Lustre over EFA. Without such a file
    system the zone is empty.
    """
    lustre = made_lustre(settings)
    if lustre is None or not lustre.efa:
        return "", []
    clients: dict[str, tuple[str, str, bool]] = {}
    for use in uses(settings):
        if use.pool and facts(use.pool.instance_type):
            clients[use.name] = (use.name, use.pool.availability_zone, _over_efa(use))
    return lustre.availability_zone or settings.availability_zones[0], list(clients.values())
