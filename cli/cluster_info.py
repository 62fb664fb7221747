"""The cluster info of a run: published by a deployed cluster's stack, read from a file, or an example."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.cluster_info import ClusterInfo, Mount
from catalog.cluster_kinds import KINDS, LOCAL
from workloads import registry
from workloads.local_environment import environment_of, requirements_of

if TYPE_CHECKING:
    from settings.deployment import Settings
    from workloads.spec import Run

SHARED = "TRAINFORGE_SHARED"
"""Variable with the folder of local runs (`runs/`) and their data (`data/`); by default the current folder."""


class NoClusterInfoError(Exception):
    """No cluster info can be read; the message has the reason and the next step."""


def info_from_file(path: Path, cluster: str) -> ClusterInfo:
    """Read cluster info from a JSON file, as the SSM parameter holds it.

    Raises:
        NoClusterInfoError: the file cannot be read, is not cluster info, or is that of another cluster.
    """
    try:
        info = ClusterInfo.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise NoClusterInfoError(f"cluster info file '{path}' cannot be read: {reason}") from error
    except ValueError as error:
        raise NoClusterInfoError(f"cluster info file '{path}': {error}") from error
    if info.cluster != cluster:
        raise NoClusterInfoError(
            f"cluster info file '{path}' is that of '{info.cluster}'; use '--on {info.cluster}'"
        )
    return info


def published_info(deployment: str, region: str, cluster: str) -> ClusterInfo:
    """Read the cluster info that a cluster's stack published.

    Raises:
        NoClusterInfoError: SSM has none, cannot be asked, or holds one of another version.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    name = ClusterInfo.parameter_name(deployment, cluster)
    try:
        answer = boto3.client("ssm", region_name=region).get_parameter(Name=name)
    except NoCredentialsError as error:
        raise NoClusterInfoError(
            f"no AWS credentials to read the cluster info of '{cluster}' with; set AWS_PROFILE or sign in, "
            "or give the cluster info with '--cluster-info FILE'"
        ) from error
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            raise NoClusterInfoError(
                f"deployment '{deployment}' has no '{cluster}' in {region}: there is no SSM parameter '{name}'; "
                f"'cdk deploy {KINDS[cluster].stack_id}' writes it, '--cluster-info FILE' reads it from a file"
            ) from error
        raise NoClusterInfoError(f"SSM parameter '{name}' in {region} cannot be read: {error}") from error
    except BotoCoreError as error:
        raise NoClusterInfoError(f"SSM parameter '{name}' in {region} cannot be read: {error}") from error
    try:
        return ClusterInfo.from_json(answer["Parameter"]["Value"])
    except ValueError as error:
        raise NoClusterInfoError(f"SSM parameter '{name}' in {region}: {error}") from error


def local_info(shared: Path | None = None) -> ClusterInfo:
    """Return the cluster info of this machine. `shared` holds runs and data; else TRAINFORGE_SHARED or this folder."""
    folder = shared or Path(os.environ.get(SHARED) or ".")
    return ClusterInfo(
        deployment="local",
        cluster=LOCAL.name,
        region="",
        cluster_name="local",
        mounts=(Mount(str(folder.resolve()), "lustre", ""),),
        launch_folder=str(Path(__file__).parent.parent / "workloads"),
        virtual_environment=os.environ.get("VIRTUAL_ENV", ""),
        virtual_environments={
            name: str(environment_of(name)) for name in registry.names() if requirements_of(name)
        },
    )


def example_info(cluster: str, run: Run, settings: Settings | None) -> ClusterInfo:
    """Return the cluster info of a run without a deployed cluster: values of the configuration, and example values.

    Images, roles and ids are known only once the cluster is deployed.
    """
    if cluster == LOCAL.name:
        return local_info()
    if settings is None:
        return ClusterInfo.example(cluster, [run.workload.name])
    environments = _virtual_environments(cluster, run, settings)
    images = [] if environments else [run.workload.name]
    info = ClusterInfo.example(cluster, images, deployment=settings.name, region=settings.region)
    lustre, openzfs = settings.storage.lustre, settings.storage.openzfs
    example_id = info.mounts[0].file_system_id
    mounts = (
        *([Mount(lustre.mount_path, "lustre", example_id, lustre.whole_mbps)] if lustre else []),
        *([Mount(openzfs.mount_path, "openzfs", example_id, openzfs.whole_mbps)] if openzfs else []),
    )
    return replace(
        info,
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
