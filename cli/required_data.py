"""The data that a run cannot do without: looked for where it can be seen from here, before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from catalog.cluster_info import ClusterInfo
from catalog.finding import Finding, Severity
from catalog.storage import launch_prefix
from workloads.spec import Data, Run

RULE = "run-data"


def check_data(run: Run, info: ClusterInfo) -> Iterator[Finding]:
    """Yield what is wrong with the data of a run on a cluster.

    It is looked for in the shared folder where this machine has it (a node of the cluster, or a local run),
    else in the data bucket where the shared file system shows it. Where neither can be seen, that is a warning:
    the job itself looks when it starts.
    """
    data = run.workload.data
    if data is None or not data.required:
        return
    shared = Path(info.shared_folder)
    folder = shared / "data" / data.folder
    needed = f"{run.workload.name} needs the data folder '{folder}'"
    if info.cluster == "local" or shared.is_dir():
        if not folder.is_dir():
            yield _finding(data, f"{needed}, which is not there", "put its data there first")
    elif not info.mounts:
        message = f"{needed}, and the cluster info of '{info.cluster}' has no shared file system"
        yield _finding(
            data, message, "give the configuration a 'storage' section and deploy the cluster again"
        )
    elif key := _key(folder, info):
        yield from _in_bucket(data, key, info, needed)
    else:
        message = f"{needed}; whether it is there cannot be seen from here"
        yield _finding(data, message, "the job ends at once (66) where it is not", Severity.WARNING)


def _finding(data: Data, message: str, hint: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(RULE, severity, "data", data.folder, message, hint)


def _key(folder: Path, info: ClusterInfo) -> str:
    """Return the folder's name in the data bucket, or nothing where the file system is not known to show it there.

    The launch bundle is in the bucket at `launch/CLUSTER`, so nodes see it where they see the bucket.
    """
    launch = PurePosixPath(info.launch_folder)
    if not info.data_bucket or not launch.match(launch_prefix(info.cluster)):
        return ""
    root = launch.parent.parent
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else ""


def _in_bucket(data: Data, key: str, info: ClusterInfo, needed: str) -> Iterator[Finding]:
    """Yield what is wrong with a folder in the data bucket, which shows what the shared file system shows."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    place = f"s3://{info.data_bucket}/{key}/"
    try:
        found = boto3.client("s3", region_name=info.region).list_objects_v2(
            Bucket=info.data_bucket, Prefix=f"{key}/", MaxKeys=1
        )
    except (BotoCoreError, ClientError) as error:
        message = f"{needed}; '{place}', which shows it, cannot be looked at: {error}"
        yield _finding(data, message, "the job ends at once (66) where it is not there", Severity.WARNING)
        return
    if not found.get("KeyCount"):
        hint = f"'aws s3 sync FOLDER {place}' puts it there; what nodes write is exported within minutes"
        yield _finding(data, f"{needed}, which shows '{place}', and there is nothing", hint)
