"""Reads facts of regions from the libraries that contain them: botocore and cfn-lint."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from botocore.session import get_session

_CLUSTER = "AWS::SageMaker::Cluster"
_MODEL = "us-east-1"
_SCHEMAS = "cfnlint.data.schemas"


def facts() -> dict[str, Any]:
    """Return the content of catalog/data/regions.json as the installed libraries have it."""
    session = get_session()
    # EC2 is in every region.
    partitions = {
        name: sorted(session.get_available_regions("ec2", name))
        for name in session.get_available_partitions()
    }
    clusters = _cluster_regions([region for names in partitions.values() for region in names])
    return {
        "source": f"botocore {version('botocore')}, endpoints of EC2 (partitions); cfn-lint "
        f"{version('cfn-lint')}, resource types of each region (cluster_regions), rule E3644 (cluster_types) and its "
        "own list of zones (last_zones)",
        "partitions": partitions,
        "cluster_regions": clusters,
        "last_zones": _last_zones([region for names in partitions.values() for region in names]),
        "cluster_types": _cluster_types(clusters),
    }


def text(found: dict[str, Any]) -> str:
    """Return the file's text: a line for each list, because one for each type would be thousands."""
    lines = [f'  "source": {json.dumps(found["source"])}']
    for name in ("partitions", "cluster_types"):
        entries = [f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in found[name].items()]
        lines.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(entries) + "\n  }")
    for place, name in enumerate(("cluster_regions", "last_zones"), start=2):
        lines.insert(place, f"  {json.dumps(name)}: {json.dumps(found[name])}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _cluster_regions(known: list[str]) -> list[str]:
    """Return the regions whose own list of resource types has the cluster.

    Where cfn-lint has no data, in isolated partitions, its file is a copy of the list of us-east-1.
    """
    folder = files(_SCHEMAS) / "providers"
    model = json.loads((folder / f"{_MODEL}.json").read_text(encoding="utf-8"))
    having = []
    for region in sorted(known):
        file = folder / f"{region}.json"
        if not file.is_file():
            continue
        types = json.loads(file.read_text(encoding="utf-8"))
        if _CLUSTER in types and (region == _MODEL or types != model):
            having.append(region)
    return having


def _last_zones(regions: list[str]) -> dict[str, str]:
    """Return the last letter of a zone's name in each region that cfn-lint has.

    Only the last: which letters before it an account has differs between accounts in the oldest regions.
    """
    from cfnlint.helpers import AVAILABILITY_ZONES  # type: ignore[import-untyped]

    return {
        region: max(zone.removeprefix(region) for zone in AVAILABILITY_ZONES[region])
        for region in sorted(regions)
        if region in AVAILABILITY_ZONES
    }


def _cluster_types(regions: list[str]) -> dict[str, list[str]]:
    """Return the EC2 names of the types that a cluster takes in each region that cfn-lint lists."""
    file = files(_SCHEMAS) / "extensions" / "aws_sagemaker_cluster" / "instancetype_enum.json"
    lists = json.loads(file.read_text(encoding="utf-8"))
    return {
        region: sorted(name.removeprefix("ml.") for name in lists[region]["enum"])
        for region in regions
        if region in lists
    }
