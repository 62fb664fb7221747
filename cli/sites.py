"""The site of a cluster that stands: from the SSM parameter that its stack published, or from a file."""

from __future__ import annotations

from pathlib import Path

from catalog.site import Site

STACKS = {
    "hyperpod": "HyperPodStack",
    "hyperpod_eks": "HyperPodEksStack",
    "parallelcluster": "ParallelClusterStack",
    "eks": "EksStack",
    "batch": "BatchStack",
}
"""The stack that publishes the site of a cluster."""


class NoSiteError(Exception):
    """There is no site to be had; the message says why and what to do."""


def site_of_file(path: Path, cluster: str) -> Site:
    """Read a site from a JSON file, as the SSM parameter holds it.

    Raises:
        NoSiteError: the file cannot be read, is not a site, or is that of another cluster.
    """
    try:
        site = Site.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise NoSiteError(f"site file '{path}' cannot be read: {reason}") from error
    except ValueError as error:
        raise NoSiteError(f"site file '{path}': {error}") from error
    if site.cluster != cluster:
        raise NoSiteError(f"site file '{path}' is that of '{site.cluster}'; '--on {site.cluster}' goes there")
    return site


def published_site(deployment: str, region: str, cluster: str) -> Site:
    """Read the site that a cluster's stack published.

    Raises:
        NoSiteError: SSM has none, cannot be asked, or holds one of another version.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    name = Site.parameter_name(deployment, cluster)
    try:
        answer = boto3.client("ssm", region_name=region).get_parameter(Name=name)
    except NoCredentialsError as error:
        raise NoSiteError(
            f"no AWS credentials to read the site of '{cluster}' with; set AWS_PROFILE or sign in, "
            "or give the site with '--site FILE'"
        ) from error
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            raise NoSiteError(
                f"deployment '{deployment}' has no '{cluster}' in {region}: there is no SSM parameter '{name}'; "
                f"'cdk deploy {STACKS[cluster]}' brings it, '--site FILE' takes a site from a file"
            ) from error
        raise NoSiteError(f"SSM parameter '{name}' in {region} cannot be read: {error}") from error
    except BotoCoreError as error:
        raise NoSiteError(f"SSM parameter '{name}' in {region} cannot be read: {error}") from error
    try:
        return Site.from_json(answer["Parameter"]["Value"])
    except ValueError as error:
        raise NoSiteError(f"SSM parameter '{name}' in {region}: {error}") from error
