"""The site of a run: of a cluster that stands, from the parameter that its stack published or a file, or an example."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.cluster_kinds import KINDS
from catalog.site import Mount, Site

if TYPE_CHECKING:
    from settings.deployment import Settings
    from workloads.spec import Run

SHARED = "TRAINFORGE_SHARED"
"""Variable that says below which folder local runs (`runs/`) and their data (`data/`) are; else the current one."""


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
                f"'cdk deploy {KINDS[cluster].stack_id}' brings it, '--site FILE' takes a site from a file"
            ) from error
        raise NoSiteError(f"SSM parameter '{name}' in {region} cannot be read: {error}") from error
    except BotoCoreError as error:
        raise NoSiteError(f"SSM parameter '{name}' in {region} cannot be read: {error}") from error
    try:
        return Site.from_json(answer["Parameter"]["Value"])
    except ValueError as error:
        raise NoSiteError(f"SSM parameter '{name}' in {region}: {error}") from error


def local_site(shared: Path | None = None) -> Site:
    """Return this machine as a site. `shared` holds runs and data; else TRAINFORGE_SHARED or the current folder."""
    folder = shared or Path(os.environ.get(SHARED) or ".")
    return Site(
        deployment="local",
        cluster="local",
        region="",
        cluster_name="local",
        mounts=(Mount(str(folder.absolute()), "lustre", ""),),
        launch_folder=str(Path(__file__).parent.parent / "workloads"),
        virtual_environment=os.environ.get("VIRTUAL_ENV", ""),
    )


def example_site(cluster: str, run: Run, settings: Settings | None) -> Site:
    """Return the site of a run when no cluster is asked: what a configuration says, the rest as in examples.

    Only a deployed cluster knows its images, roles and ids.
    """
    if cluster == "local":
        return local_site()
    if settings is None:
        return Site.example(cluster, [run.workload.name])
    environments = _virtual_environments(cluster, run, settings)
    images = [] if environments else [run.workload.name]
    site = Site.example(cluster, images, deployment=settings.name, region=settings.region)
    lustre, openzfs = settings.storage.lustre, settings.storage.openzfs
    example_id = site.mounts[0].file_system_id
    mounts = (
        *([Mount(lustre.mount_path, "lustre", example_id, lustre.whole_mbps)] if lustre else []),
        *([Mount(openzfs.mount_path, "openzfs", example_id, openzfs.whole_mbps)] if openzfs else []),
    )
    return replace(
        site,
        mounts=mounts,
        partitions=getattr(getattr(settings, cluster), "partitions", {}),
        queues={run.pool.name: run.pool.name},
        virtual_environments=environments,
        launch_folder=settings.storage.launch_folder(cluster),
    )


def _virtual_environments(cluster: str, run: Run, settings: Settings) -> dict[str, str]:
    """Return where the run's workload has its virtual environment on the cluster; nothing where it has an image."""
    name = run.workload.name
    shipped = [one for one in settings.workloads if one.workload == name and cluster in one.clusters]
    folders = [one.virtual_environment for one in shipped if one.virtual_environment]
    return {name: folders[-1]} if folders and len(folders) == len(shipped) else {}
