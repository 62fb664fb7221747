"""Rules on the region: it exists, CloudFormation has HyperPod clusters there, and they take the types."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from catalog.regions import cluster_regions, cluster_types, priced_types, regions, regions_of_type
from settings.checks.names import REGION
from settings.checks.rule import Problem, Subject, error
from settings.checks.selection import facts, hyperpod_instance_types
from settings.parser.values import guess, listed, shown

_NEAR = 3


@error("region-unknown", too_strict=True, leans_on=("region",))
def _unknown(subject: Subject) -> Iterator[Problem]:
    """A region that AWS does not have shows only when something is deployed, as a name without a server.

    Source: botocore's endpoint data. Too strict where AWS has opened a region since the catalog was refreshed.
    """
    region = subject.settings.region
    if REGION.fullmatch(region) and region not in regions():
        yield Problem(
            "region",
            region,
            f"AWS has no region '{shown(region)}'{guess(region, regions())}",
            "'trainforge catalog regions' reads new regions from botocore",
        )


@error("hyperpod-region", too_strict=True, leans_on=("region",))
def _without_clusters(subject: Subject) -> Iterator[Problem]:
    """CloudFormation makes a HyperPod cluster only where it has the type AWS::SageMaker::Cluster.

    Source: the resource types of each region that come with cfn-lint. Too strict where CloudFormation has got
    the type since the catalog was refreshed.
    """
    region = subject.settings.region
    if subject.settings.hyperpod and region in regions() and region not in cluster_regions():
        near = difflib.get_close_matches(region, cluster_regions(), n=_NEAR, cutoff=0.5)
        yield Problem(
            "region",
            region,
            f"CloudFormation has no HyperPod clusters (AWS::SageMaker::Cluster) in '{region}'",
            f"it has them in {listed(near)} among others" if near else "",
        )


@error("hyperpod-region-type", too_strict=True, leans_on=("region",))
def _without_type(subject: Subject) -> Iterator[Problem]:
    """HyperPod has fewer instance types in some regions than in others.

    Source: AWS's price lists as cfn-lint's rule E3644 has them. Too strict where SageMaker has brought a type
    to the region since the catalog was refreshed.
    """
    region = subject.settings.region
    offered = cluster_types(region)
    if offered is None:
        return
    priced = priced_types()
    for path, name, what in hyperpod_instance_types(subject.settings):
        found = facts(name)
        if found is None or not found.hyperpod or name in offered or name not in priced:
            continue
        kin = difflib.get_close_matches(
            name,
            [
                other
                for other in sorted(offered)
                if (fact := facts(other)) and fact.is_accelerated == found.is_accelerated
            ],
            n=_NEAR,
            cutoff=0.4,
        )
        near = f"there it offers {listed(kin)} among others; " if kin else ""
        places = listed(regions_of_type(name)[:_NEAR])
        yield Problem(
            path,
            name,
            f"{what}: HyperPod does not offer '{name}' in '{region}'",
            f"{near}it offers '{name}' in {places} among other regions",
        )
