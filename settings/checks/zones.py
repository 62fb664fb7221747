"""Rules on Availability Zones: their names, where pools and file systems lie, and EFA, which stays in one."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from catalog.pool import Pool
from catalog.regions import last_zone
from settings.checks.names import REGION
from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.selection import facts, uses, zones
from settings.checks.storage import made_lustre
from settings.parser.values import listed, shown

_ZONE_ID = re.compile(r"[a-z]{3,5}\d-az\d+")


@error("zone-region", leans_on=("region",))
def _zone_of_region(subject: Subject) -> Iterator[Problem]:
    """Everything of a deployment lies in one region; a zone of another one is a slip of the pen."""
    region = subject.settings.region
    for index, zone in enumerate(subject.settings.availability_zones):
        path = f"availability_zones.{index}"
        if _ZONE_ID.fullmatch(zone):
            yield Problem(
                path,
                zone,
                f"'{zone}' is the id of a zone; its name is wanted, which each account maps for itself",
                "'aws ec2 describe-availability-zones' lists both",
            )
        elif REGION.fullmatch(region) and not re.fullmatch(re.escape(region) + r"[a-z]", zone):
            yield Problem(
                path,
                zone,
                f"'{shown(zone)}' is not a zone of the region '{region}'",
                f"a zone is the region with a letter, such as '{region}a'",
            )


@error("zone-letter", too_strict=True, leans_on=("region",))
def _zone_of_account(subject: Subject) -> Iterator[Problem]:
    """A zone that the region does not have shows only when subnets are made in it.

    Too strict where AWS has added a zone since the catalog was read. Which of the other letters an account has only
    AWS can tell.
    """
    region = subject.settings.region
    last = last_zone(region)
    for index, zone in enumerate(subject.settings.availability_zones):
        letter = zone.removeprefix(region)
        if last and re.fullmatch(r"[a-z]", letter) and letter > last:
            yield Problem(
                f"availability_zones.{index}",
                zone,
                f"the region '{region}' has no zone '{zone}': its last one in the catalog is '{region}{last}'",
                f"'aws ec2 describe-availability-zones --region {region}' lists those of your account; acknowledge "
                "'zone-letter' where it has this one",
            )


@error("zone-duplicate")
def _zone_twice(subject: Subject) -> Iterator[Problem]:
    """Each zone gets its own subnets; one that is listed twice would get two."""
    seen: dict[str, int] = {}
    for index, zone in enumerate(subject.settings.availability_zones):
        if zone in seen:
            yield Problem(
                f"availability_zones.{index}", zone, f"the zone '{shown(zone)}' is listed twice", "remove one"
            )
        seen.setdefault(zone, index)


@error("zone-unknown", leans_on=("availability_zones",))
def _zone_listed(subject: Subject) -> Iterator[Problem]:
    """Subnets are made for the listed zones only, so nothing can lie in another one."""
    listed_zones = subject.settings.availability_zones
    for path, zone, what in zones(subject.settings):
        if zone not in listed_zones:
            yield Problem(
                path,
                zone,
                f"{what}: the zone '{shown(zone)}' is not among 'availability_zones'",
                f"use {listed(listed_zones)}, or add '{shown(zone)}' to 'availability_zones'",
            )


@error("efa-across-zones", too_strict=True, leans_on=("availability_zones", "pools", "hyperpod.partitions"))
def _partition_across_zones(subject: Subject) -> Iterator[Problem]:
    """EFA traffic does not leave a zone, and a job may get any nodes of its partition.

    Too strict where jobs choose their nodes by a constraint, or never use more than one node.
    """
    hyperpod = subject.settings.hyperpod
    if hyperpod is None:
        return
    members: dict[str, list[Pool]] = defaultdict(list)
    for use in uses(subject.settings):
        type_facts = facts(use.pool.instance_type) if use.pool else None
        # A ParallelCluster's queue never spans zones: 'queue-mixed' says so.
        if use.cluster == "hyperpod" and use.pool and type_facts and type_facts.supports_efa:
            members[hyperpod.partitions.get(use.name, use.name)].append(use.pool)
    for partition, pools in members.items():
        places = Counter(pool.availability_zone for pool in pools)
        if len(places) < 2:
            continue
        home = places.most_common(1)[0][0]
        for pool in pools:
            if pool.availability_zone != home:
                explicit = subject.settings.pools[pool.name].availability_zone is not None
                yield Problem(
                    f"pools.{pool.name}" + (".availability_zone" if explicit else ""),
                    pool.availability_zone,
                    f"partition '{shown(partition)}' spans the zones {listed(places, 'and')}, and EFA does "
                    f"not leave a zone: pool '{pool.name}' lies apart",
                    "give each zone a partition of its own under 'hyperpod.partitions'",
                )


@warning("lustre-zone", leans_on=("availability_zones", "storage.lustre", "pools"))
def _lustre_elsewhere(subject: Subject) -> Iterator[Problem]:
    """Lustre has its servers in one zone: what pools of another read and write crosses zones, slower and charged for.

    Source: Amazon FSx for Lustre pricing, data transfer between Availability Zones. Of a file system with EFA the rules
    `lustre-efa-zone` and `lustre-efa-client-zone` speak.
    """
    settings = subject.settings
    lustre = made_lustre(settings)
    if lustre is None or lustre.efa:
        return
    known = settings.availability_zones
    zone = lustre.availability_zone or known[0]
    # Of zones that are not listed 'zone-unknown' speaks.
    clients = {
        use.name: use.pool for use in uses(settings) if use.pool and use.pool.availability_zone in known
    }
    if zone not in known:
        return
    others = [pool for pool in clients.values() if pool.availability_zone != zone]
    if others and len(others) == len(clients):
        places = list(dict.fromkeys(pool.availability_zone for pool in others))
        yield Problem(
            "storage.lustre.availability_zone" if lustre.availability_zone else "storage.lustre",
            zone,
            f"the Lustre file system is in zone '{shown(zone)}' and all pools of the clusters in "
            f"{listed(places, 'and')}: all that they read and write crosses zones, slower and charged for",
            f"set 'availability_zone: {places[0]}' under 'storage.lustre'",
        )
        return
    for pool in others:
        explicit = settings.pools[pool.name].availability_zone is not None
        yield Problem(
            f"pools.{pool.name}" + (".availability_zone" if explicit else ""),
            pool.availability_zone,
            f"pool '{pool.name}' is in zone '{shown(pool.availability_zone)}' and the Lustre file system in "
            f"'{shown(zone)}': what it reads and writes crosses zones, slower and charged for",
            "put them in one zone, or acknowledge this where the pool uses the file system little",
        )
