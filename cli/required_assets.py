"""The assets that a run requires: checked before it is submitted, if this machine can see them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from catalog.cluster_info import ClusterInfo
from catalog.cluster_kinds import LOCAL
from catalog.finding import Finding, Severity
from catalog.storage import launch_prefix
from workloads.asset import Asset
from workloads.spec import Run

RULE = "run-assets"


def check_assets(
    run: Run,
    info: ClusterInfo,
    made: Collection[str] = (),
    *,
    reference: str = "",
    options: Sequence[str] = (),
) -> Iterator[Finding]:
    """Yield what is wrong with the required assets of a run on a cluster, but for those that the stages `made` make.

    Each is looked for in the shared folder where this machine has it (a node of the cluster, or a local run),
    else in the data bucket where the shared file system shows it. Where neither can be seen, that is a warning:
    the job itself looks when it starts. `reference` is the workload as it was asked for, a name or a folder, and
    `options` are those by which the command that makes an asset finds the same place.
    """
    for asset in run.required_assets:
        if asset.stage in made:
            continue
        shared = run.stage(asset.stage).extra_arguments if asset.stage else ()
        makes = asset.command(reference or run.workload.name, run.preset.name, info.cluster, options, shared)
        yield from _check(asset, run, info, makes)


def _check(asset: Asset, run: Run, info: ClusterInfo, makes: str) -> Iterator[Finding]:
    shared, folder = Path(info.shared_folder), Path(asset.path(info.shared_folder))
    needed = f"{run.workload.name} needs the {asset.kind} '{asset.name}' in '{folder}'"
    how = f"'{makes}' makes it" if makes else ""
    if info.cluster == LOCAL.name or shared.is_dir():
        if not folder.is_dir():
            yield _finding(asset, f"{needed}, which does not exist", how or "put the data there first")
    elif not info.mounts:
        message = f"{needed}, and the cluster info of '{info.cluster}' has no shared file system"
        hint = "give the configuration a 'storage' section and deploy the cluster again"
        yield _finding(asset, message, hint)
    elif key := _key(folder, info):
        yield from _in_bucket(asset, key, info, needed, how)
    else:
        message = f"{needed}; whether it exists cannot be checked from this machine"
        yield _finding(asset, message, "the job ends at once (exit code 66) if it does not", Severity.WARNING)


def _finding(asset: Asset, message: str, hint: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(RULE, severity, "assets", asset.name, message, hint)


def _key(folder: Path, info: ClusterInfo) -> str:
    """Return the folder's name in the data bucket, or nothing where the file system is not known to show it there.

    The launch bundle is in the bucket at `launch/CLUSTER`, so nodes see it where they see the bucket.
    """
    launch = PurePosixPath(info.launch_folder)
    if not info.data_bucket or not launch.match(launch_prefix(info.cluster)):
        return ""
    root = launch.parent.parent
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else ""


def _in_bucket(asset: Asset, key: str, info: ClusterInfo, needed: str, how: str) -> Iterator[Finding]:
    """Yield what is wrong with a folder in the data bucket, which shows what the shared file system shows."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    place = f"s3://{info.data_bucket}/{key}/"
    try:
        found = boto3.client("s3", region_name=info.region).list_objects_v2(
            Bucket=info.data_bucket, Prefix=f"{key}/", MaxKeys=1
        )
    except (BotoCoreError, ClientError) as error:
        message = f"{needed}; '{place}', its content in S3, cannot be listed: {error}"
        yield _finding(
            asset, message, "the job ends at once (exit code 66) if it does not exist", Severity.WARNING
        )
        return
    if not found.get("KeyCount"):
        hint = how or f"'aws s3 sync FOLDER {place}' puts it there"
        message = f"{needed}, which shows '{place}', and that is empty"
        yield _finding(asset, message, f"{hint}; what nodes write is exported within minutes")
