"""Rules on names: of the deployment, its region, its pools, its tags."""

from __future__ import annotations

import re
from collections.abc import Iterator

from settings.checks.rule import Problem, Subject, error
from settings.parser.values import shown

REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
"""Form of a region's name, as in us-west-2 or us-gov-east-1."""

_DEPLOYMENT = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
_POOL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
# botocore: sagemaker TagKey and TagValue; \w stands for the letters and digits of any script.
_TAG_TEXT = re.compile(r"[\w\s.:/=+\-@]*")


@error("deployment-name")
def _deployment_name(subject: Subject) -> Iterator[Problem]:
    """The name begins every stack's name, an SSM path and a session document; each must accept it."""
    name = subject.settings.name
    if not _DEPLOYMENT.fullmatch(name):
        yield Problem(
            "name",
            name,
            f"the name '{shown(name)}' is not 1 to 20 lower case letters, digits and dashes that begin "
            "with a letter and do not end with a dash",
        )


@error("region-form")
def _region(subject: Subject) -> Iterator[Problem]:
    """A misspelt region shows only when something is deployed, as an endpoint that does not resolve."""
    region = subject.settings.region
    if not REGION.fullmatch(region):
        yield Problem(
            "region",
            region,
            f"'{shown(region)}' is not the name of a region",
            "a region looks like 'us-west-2'; a letter at the end makes it a zone",
        )


@error("pool-name")
def _pool_names(subject: Subject) -> Iterator[Problem]:
    """A pool's name becomes a HyperPod instance group, a Slurm partition and part of construct ids.

    HyperPod's groups take at most 63 letters, digits and single dashes (botocore: ClusterInstanceGroupName).
    """
    for name in subject.settings.pools:
        if not _POOL.fullmatch(name):
            yield Problem(
                f"pools.{name}",
                name,
                f"the pool name '{shown(name)}' is not 1 to 63 lower case letters, digits and dashes that "
                "begin with a letter and do not end with a dash",
            )


@error("pool-names-alike")
def _pool_names_alike(subject: Subject) -> Iterator[Problem]:
    """Construct ids have no dashes, so names that differ by one before a digit would be one resource."""
    first: dict[str, str] = {}
    for name in subject.settings.pools:
        other = first.setdefault(re.sub(r"-+(?=\d)", "", name), name)
        if other != name:
            yield Problem(
                f"pools.{name}",
                name,
                f"the pool names '{shown(other)}' and '{shown(name)}' differ only by a dash before a digit",
                "give one of them another name",
            )


@error("tag-form")
def _tags(subject: Subject) -> Iterator[Problem]:
    """AWS refuses a resource with a malformed tag, late and once for every resource.

    Keys hold 1 to 128 characters, values up to 256, of letters, digits, blanks and `_.:/=+-@`
    (botocore: sagemaker and fsx TagKey, TagValue); keys that begin with `aws:` belong to AWS, those that begin with
    `parallelcluster:` to ParallelCluster (aws-parallelcluster, schemas/common_schema.py, validate_no_reserved_tag).
    """
    reserved = ("aws:", "trainforge:", *(("parallelcluster:",) if subject.settings.parallelcluster else ()))
    for key, value in subject.settings.tags.items():
        path = f"tags.{key}"
        if not 1 <= len(key) <= 128 or not _TAG_TEXT.fullmatch(key):
            yield Problem(
                path,
                key,
                f"the tag key '{shown(key)}' is not 1 to 128 letters, digits, blanks and '_.:/=+-@'",
            )
        elif key.lower().startswith(reserved):
            owner = key.partition(":")[0].lower()
            yield Problem(path, key, f"tag keys that begin with '{owner}:' are reserved", "choose another")
        if len(value) > 256 or not _TAG_TEXT.fullmatch(value):
            yield Problem(
                path,
                value,
                f"the value of tag '{shown(key)}' is not up to 256 letters, digits, blanks and '_.:/=+-@'",
            )


@error("tag-count")
def _tag_count(subject: Subject) -> Iterator[Problem]:
    """A resource takes 50 tags (botocore: sagemaker and fsx TagList), and we and CDK add a few."""
    count = len(subject.settings.tags)
    if count > 40:
        yield Problem("tags", count, f"{count} tags are more than the 40 that leave room for our own")
