"""A user's own code at launch: it runs in a deployed image, or is shipped as an archive."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from catalog.cluster_info import ClusterInfo, base_image_key
from catalog.cluster_kinds import LOCAL
from catalog.finding import Finding, Severity
from catalog.storage import launch_prefix
from cli.submit.submission import SubmissionError
from workloads.code_archive import CodeArchive, code_archive, requirements
from workloads.own_code import DOCKERFILE, REQUIREMENTS
from workloads.shipped_code import ShippedCode
from workloads.spec import Format, Run

_FOLDER = "code"
"""The folder of archives, below the shared file system or in the data bucket."""

_OTHER_WAY = (
    "build its image: name the folder as 'path' under 'workloads' in the configuration, and deploy again"
)


@dataclass(frozen=True, slots=True)
class Shipment:
    """A shipped archive: a file of the shared file system, or an object of the data bucket."""

    archive: CodeArchive
    file: Path
    bucket: str = ""
    key: str = ""
    region: str = ""

    def __str__(self) -> str:
        """Return where it goes, in words."""
        place = (
            f"s3://{self.bucket}/{self.key}, which nodes see at {self.file}"
            if self.bucket
            else str(self.file)
        )
        return f"{self.archive.files} files and the runtime, to {place}"

    def send(self) -> None:
        """Put the archive where nodes see it; one that is there has the same content.

        Raises:
            SubmissionError: it cannot be written.
        """
        if self.bucket:
            self._upload()
        else:
            self._write()

    def _write(self) -> None:
        temporary = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        try:
            for folder in (self.file.parent.parent, self.file.parent):
                if not folder.exists():
                    folder.mkdir(parents=True, exist_ok=True)
                    # Each user may add code, and none remove another's.
                    folder.chmod(0o1777)
            # One that another user has put there is not used: it would be run.
            if not self.file.exists() or self.file.stat().st_uid != os.getuid():
                temporary.write_bytes(self.archive.content)
                temporary.replace(self.file)
        except OSError as error:
            raise SubmissionError(
                f"the code cannot be written to '{self.file}': {error.strerror or error}. Nothing was submitted"
            ) from error

    def _upload(self) -> None:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        s3 = boto3.client("s3", region_name=self.region)
        try:
            found = s3.list_objects_v2(Bucket=self.bucket, Prefix=self.key, MaxKeys=1)
            # Written again, it would change under the nodes that read it.
            if not found.get("KeyCount"):
                s3.put_object(Bucket=self.bucket, Key=self.key, Body=self.archive.content)
        except (BotoCoreError, ClientError) as error:
            raise SubmissionError(
                f"the code cannot be written to 's3://{self.bucket}/{self.key}': {error}. Nothing was submitted"
            ) from error


@dataclass(frozen=True, slots=True)
class Shipped:
    """A run as it is rendered, with cluster info that has its image, what ships its code, and findings."""

    run: Run
    info: ClusterInfo
    shipment: Shipment | None
    findings: tuple[Finding, ...]


def shipped(run: Run, format_: Format, info: ClusterInfo) -> Shipped:
    """Return how a run gets its code.

    A workload of the repository is in its image, and so is one in a folder that the configuration names. Any other
    folder is shipped by itself and runs on the base image that is deployed, or in the nodes' virtual environment.
    """
    workload = run.workload
    if workload.folder is None or info.cluster == LOCAL.name or _is_deployed(run.image_name, info):
        return Shipped(run, info, None, ())
    findings = [*_refused(run, info)]
    images, environments, problem = _base(run, format_, info)
    archive = code_archive(workload)
    shipment = _shipment(workload.name, archive, info)
    if problem:
        findings.append(problem)
    if shipment is None:
        findings.append(_unseen(workload.name, info))
        return Shipped(run, info, None, tuple(findings))
    code = ShippedCode(str(shipment.file), bool(requirements(workload.folder)))
    info = replace(
        info,
        images={**info.images, **images},
        virtual_environments={**info.virtual_environments, **environments},
    )
    return Shipped(replace(run, code=code), info, shipment, tuple(findings))


def with_images(parts: Sequence[Shipped]) -> Shipped:
    """Return the last of the parts of one job, in a cluster that has the images of all."""
    last = parts[-1]
    images = {name: image for each in parts for name, image in each.info.images.items()}
    return replace(last, info=replace(last.info, images=images))


def _is_deployed(name: str, info: ClusterInfo) -> bool:
    return name in info.images or name in info.virtual_environments


def _finding(name: str, message: str, hint: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding("run-code", severity, "workload", name, message, hint)


def _refused(run: Run, info: ClusterInfo) -> Iterator[Finding]:
    workload = run.workload
    assert workload.folder
    if info.isolated and requirements(workload.folder):
        message = (
            f"the network of '{info.cluster_name}' is isolated, and {REQUIREMENTS} of '{workload.folder}' would be "
            "installed by its nodes, from the internet"
        )
        yield _finding(workload.name, message, _OTHER_WAY)
    if (workload.folder / DOCKERFILE).is_file():
        message = f"the {DOCKERFILE} of '{workload.folder}' is not built: the folder is shipped by itself"
        yield _finding(workload.name, message, _OTHER_WAY, Severity.WARNING)


def _base(
    run: Run, format_: Format, info: ClusterInfo
) -> tuple[Mapping[str, str], Mapping[str, str], Finding | None]:
    """Return the image or the virtual environment that the run gets, by its workload's name, or what is missing."""
    name, image = run.image_name, run.image
    if image.base is None or image.pins:
        return {}, {}, _finding(name, f"'{name}' needs an image of its own, built on '{image}'", _OTHER_WAY)
    key = base_image_key(image.base, run.facts.architecture)
    if key in info.base_images:
        return {name: info.base_images[key]}, {}, None
    folders = {info.virtual_environment, *info.virtual_environments.values()} - {""}
    if format_ is Format.SLURM and len(folders) == 1:
        return {}, {name: folders.pop()}, None
    there = ", ".join(sorted(info.base_images)) or "none"
    message = f"'{info.cluster_name}' has no base image '{key}', which '{name}' would run on (it has {there})"
    hint = f"'base_images: [{info.cluster}]' in the configuration, deployed again, builds it; or {_OTHER_WAY}"
    return {}, {}, _finding(name, message, hint)


def _shipment(name: str, archive: CodeArchive, info: ClusterInfo) -> Shipment | None:
    """Return how the archive reaches the nodes; None where nothing does that can be reached from here."""
    if not info.mounts:
        return None
    shared = Path(info.shared_folder)
    if shared.is_dir():
        return Shipment(archive, shared / _FOLDER / name / archive.name)
    root = PurePosixPath(info.launch_folder)
    prefix = launch_prefix(info.cluster)
    if not info.data_bucket or not root.match(prefix):
        return None
    key = f"{_FOLDER}/{name}/{archive.name}"
    for _ in PurePosixPath(prefix).parts:
        root = root.parent
    return Shipment(archive, Path(root / key), info.data_bucket, key, info.region)


def _unseen(name: str, info: ClusterInfo) -> Finding:
    if not info.mounts:
        message = f"the cluster info of '{info.cluster}' has no shared file system, which would hold the code"
        return _finding(
            name, message, "give the configuration a 'storage' section and deploy the cluster again"
        )
    message = f"'{info.shared_folder}' of '{info.cluster_name}' is not mounted here, nor known to show the data bucket"
    hint = (
        f"launch on a machine that mounts it; or give 'storage.lustre' its repository, write 'base_images: "
        f"[{info.cluster}]' into the configuration and deploy the cluster again"
    )
    return _finding(name, message, hint)
