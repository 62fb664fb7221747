"""The picture of what is deployed, drawn from a configuration: zones, ranges, pools and file systems are its own."""

from __future__ import annotations

from catalog import addresses
from catalog.instances import instance
from docs.pictures.drawing import Box, Picture
from settings.deployment import Settings

_TOP, _ZONE_TOP, _PRIVATE_TOP = 100, 176, 286


def deployed(settings: Settings) -> Picture:
    """Return the picture of NetworkStack, StorageStack and HyperPodStack of a configuration of two zones."""
    assert len(settings.availability_zones) == 2, "the picture has room for two zones"
    assert settings.hyperpod
    network = settings.network
    ranges = network.secondary_cidrs or addresses.default_secondary_ranges(network.primary_cidr, 2)
    first, second = addresses.plan(network.primary_cidr, ranges, settings.availability_zones)
    picture = Picture(
        name="deployed",
        title="What config/default.yaml deploys",
        description=(
            "A VPC with two zones. Each has a public subnet in the primary range and a private subnet in the "
            "secondary range. The first zone's private subnet holds controller, login node, the pool's nodes, "
            "Lustre and OpenZFS. Outside the VPC: buckets, Session Manager, parameters, event rules with "
            "an SNS topic, logs."
        ),
        width=1060,
        height=640,
    )
    picture.box(16, 66, 690, 558, f"VPC {network.primary_cidr}, {', '.join(map(str, ranges))}", kind="plain")
    internet = picture.box(290, 16, 188, 34, "internet", kind="outside")
    gateway = picture.box(290, _TOP + 4, 188, 34, "internet gateway", kind="aws")
    picture.box(502, 76, 188, 54, "gateway endpoints", ["S3, DynamoDB"], "aws")
    for zone, left, width in ((first, 32, 446), (second, 490, 200)):
        picture.box(left, _ZONE_TOP - 26, width, 458, f"zone {zone.availability_zone}", kind="plain")
    public = picture.box(44, _ZONE_TOP + 10, 422, 78, f"public {first.public}", kind="plain")
    nat = picture.box(290, public.y + 8, 164, 62, "NAT gateway", ["one for all zones"], "aws")
    picture.box(502, _ZONE_TOP + 10, 176, 78, "public", [str(second.public)], "plain")
    picture.box(502, _PRIVATE_TOP, 176, 310, "private", [str(second.private), "for further pools"], "plain")
    private = picture.box(44, _PRIVATE_TOP, 422, 310, f"private {first.private}", kind="plain")
    nodes = _cluster(picture, settings, private)
    lustre, home = _file_systems(picture, settings, private)
    picture.arrow(nodes.at("bottom", 0.2), (nodes.at("bottom", 0.2)[0], lustre.y))
    picture.arrow((home.x + 110, nodes.y + nodes.height), (home.x + 110, home.y))
    picture.arrow((400, private.y), (400, nat.y + nat.height))
    picture.arrow((nat.x + 30, nat.y), (nat.x + 30, gateway.y + gateway.height))
    picture.arrow(gateway.at("top"), internet.at("bottom"))
    _services(picture, lustre, nodes)
    return picture


def _cluster(picture: Picture, settings: Settings, private: Box) -> Box:
    hyperpod = settings.hyperpod
    assert hyperpod
    x, y = private.x + 12, private.y + 34
    frame = picture.box(x, y, 398, 150, "HyperPod cluster, Slurm", kind="ours")
    picture.box(x + 12, y + 34, 116, 45, "controller", kind="aws")
    if hyperpod.login:
        picture.box(x + 12, y + 91, 116, 45, f"login x {hyperpod.login.nodes}", kind="aws")
    pool = settings.pools[hyperpod.pools[0]]
    efa = "EFA between nodes" if instance(pool.instance_type).supports_efa else "no EFA"
    lines = [
        f"{pool.nodes} x {pool.instance_type}",
        f"partition {hyperpod.partitions.get(pool.name, pool.name)}",
        efa,
    ]
    picture.box(x + 146, y + 34, 238, 102, f"pool {pool.name}", lines, "aws")
    return frame


def _file_systems(picture: Picture, settings: Settings, private: Box) -> tuple[Box, Box]:
    lustre, openzfs = settings.storage.lustre, settings.storage.openzfs
    assert lustre
    assert openzfs
    x, y = private.x + 12, private.y + 214
    return (
        picture.box(
            x,
            y,
            190,
            79,
            "FSx for Lustre",
            [lustre.mount_path, f"{lustre.capacity_gib} GiB, one zone"],
            "data",
        ),
        picture.box(
            x + 208,
            y,
            190,
            79,
            "FSx for OpenZFS",
            [openzfs.mount_path, f"{openzfs.capacity_gib} GiB"],
            "data",
        ),
    )


def _services(picture: Picture, lustre: Box, nodes: Box) -> None:
    """Add the services outside the VPC, from top to bottom on the right."""
    x, width = 774, 270
    picture.box(x, 16, width, 62, "EventBridge, SNS", ["state, health and cluster events"], "aws")
    session = picture.box(
        x, 92, width, 79, "Session Manager", ["document: log in as ubuntu", "no open port"], "aws"
    )
    picture.box(x, 185, width, 62, "Parameter Store", ["the cluster info: what commands read"], "aws")
    picture.box(
        x,
        261,
        width,
        79,
        "CloudWatch Logs",
        ["flow logs, functions, and what", "nodes print (made by HyperPod)"],
        "aws",
    )
    picture.box(x, 354, width, 62, "IAM", ["role of the nodes, least privilege"], "aws")
    picture.box(x, 430, width, 62, "S3: scripts, access logs", ["encrypted, TLS only, private"], "data")
    bucket = picture.box(x, 506, width, 62, "S3: data", ["versioned; appears in Lustre"], "data")
    picture.box(x, 582, width, 42, "Lambda: backup cleanup", kind="aws")
    endpoint = 726
    # The arrow of data is below the file systems, that of sessions between the zones and the services.
    bottom = picture.height - 24
    picture.arrow(
        (lustre.x + 60, lustre.y + lustre.height),
        (lustre.x + 60, bottom),
        (endpoint, bottom),
        (endpoint, bucket.at("left")[1]),
        bucket.at("left"),
        both=True,
    )
    picture.arrow(
        session.at("left", 0.61),
        (484, session.at("left", 0.61)[1]),
        (484, nodes.y + 60),
        (nodes.x + nodes.width, nodes.y + 60),
    )
