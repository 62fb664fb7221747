"""Launch artifacts of a cluster: the images of its workloads, their programs, and launch manifests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

import workloads
from catalog.cluster_info import ClusterInfo, base_image_key
from catalog.instance_facts import Architecture
from settings.deployment import Settings
from trainforge.construct_ids import pascal
from trainforge.launch_bundle import LaunchBundle
from workloads.entry import CHECKOUT_RUNTIME, LAUNCH_RUNTIME
from workloads.images.image import DOCKERFILE, OWN_DOCKERFILE, Image
from workloads.own_code import DOCKERFILE as FOLDERS_DOCKERFILE
from workloads.own_files import own_files
from workloads.render.all import SUFFIXES, named_size, render
from workloads.request import resolve
from workloads.spec import Format, Run, Workload
from workloads.stage_runs import stage_format, stage_runs

if TYPE_CHECKING:
    from trainforge.workload_image import WorkloadImage

_WORKLOADS = Path(workloads.__file__).parent
_NOT_RUN = ("**/README.md", "*/manifests", "*/workload.py", "*/__init__.py")
"""Files of a workload beside its program: no image and no bundle needs them, so a change there builds nothing."""


_ANY = Workload(name="any")
"""A workload that runs on any node, and on our base image for it."""


@dataclass(frozen=True, slots=True)
class ShippedRun:
    """A run of a workload on a cluster in the cluster's own format, in a virtual environment or in its image.

    `apply` is true if a stack that can start it does so. `stages` are the runs before it in its manifest, if the
    format has both in one.
    """

    run: Run
    format: Format
    virtual_environment: str = ""
    apply: bool = False
    stages: Mapping[str, Run] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Path of its manifest in the bundle: the workload's folder, then format, size, nodes and pool."""
        run, ending = self.run, SUFFIXES.get(self.format, "yaml")
        name = f"{self.format}.{named_size(run)}.{run.nodes}x{run.pool.name}.{ending}"
        return f"{run.workload.package}/manifests/{name}"


def shipped_runs(settings: Settings, cluster: str) -> list[ShippedRun]:
    """Return the runs that a configuration ships with a cluster, and those of their stages, each once."""
    found: dict[str, ShippedRun] = {}
    for shipment in settings.workloads:
        if cluster in shipment.clusters:
            prepare_on = settings.pools[shipment.prepare_on] if shipment.prepare_on else None
            resolution = resolve(shipment.request(cluster, settings.pools[shipment.pool], prepare_on))
            run, format_ = resolution.run, resolution.format
            assert run
            assert format_, "settings were checked"
            environment = shipment.virtual_environment or ""
            runs = [ShippedRun(run, format_, environment, shipment.apply, resolution.stages)]
            for stage in stage_runs(run, prepare_on).values():
                stages_format = stage_format(stage, format_, cluster)
                if stages_format:
                    runs.append(ShippedRun(stage, stages_format, environment))
            # Runs of other sizes may need the same stage.
            found.update({each.path: each for each in runs if each.path not in found})
    return list(found.values())


class LaunchArtifacts(Construct):
    """The images of a cluster's workloads, each built once, and the bundle that its jobs are launched from.

    The images come first: the info that `completed` returns names them, and what `ship` renders waits for them.
    `base_images` are those that the configuration has built for code that is launched from a folder. Where a
    configuration ships nothing with the cluster, this makes nothing.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, cluster: str) -> None:
        super().__init__(scope, construct_id)
        self._settings, self._cluster = settings, cluster
        durable = settings.retention == "durable"
        self._removal = cdk.RemovalPolicy.RETAIN if durable else cdk.RemovalPolicy.DESTROY
        self._shipped_runs = shipped_runs(settings, cluster)
        self._bases: dict[str, WorkloadImage] = {}
        self.images: dict[str, WorkloadImage] = {}
        for shipped in self._shipped_runs:
            run = shipped.run
            if run.image_name not in self.images and not shipped.virtual_environment:
                self.images[run.image_name] = self._image(run)
        self.base_images = dict(self._base_images()) if cluster in settings.base_images else {}

    def grant_pull(self, nodes: iam.Role | iam.ManagedPolicy) -> None:
        """Let nodes pull the images, by their role or by a policy of theirs."""
        for image in (*self.images.values(), *self.base_images.values()):
            image.grant_pull(nodes)

    def completed(self, info: ClusterInfo) -> ClusterInfo:
        """Return the cluster info with what is shipped to it.

        These are image URIs or virtual environments, and the folder where its nodes see the bundle.
        """
        info = replace(info, isolated=self._settings.network.isolated)
        if not self._shipped_runs and not self.base_images:
            return info
        return replace(
            info,
            base_images={key: image.image_uri for key, image in self.base_images.items()},
            images={name: image.image_uri for name, image in self.images.items()},
            virtual_environments={
                shipped.run.workload.name: shipped.virtual_environment
                for shipped in self._shipped_runs
                if shipped.virtual_environment
            },
            launch_folder=self._settings.storage.launch_folder(self._cluster),
        )

    def ship(self, info: ClusterInfo, bucket: s3.IBucket) -> None:
        """Put programs and the manifests of all runs, rendered for the cluster info, into the data bucket."""
        if not self._shipped_runs:
            return
        header = (
            f"Rendered for the cluster '{self._cluster}' of '{self._settings.name}' when it was deployed; "
            "the next deployment replaces it."
        )
        used = {shipped.run.workload.package: shipped.run.workload for shipped in self._shipped_runs}
        own = {package: workload for package, workload in used.items() if workload.folder}
        with tempfile.TemporaryDirectory() as copies:
            for package, workload in own.items():
                _copy(workload, Path(copies) / package)
            LaunchBundle(
                self,
                "Bundle",
                bucket=bucket,
                cluster=self._cluster,
                programs={
                    **{
                        package: (Path(copies) if package in own else _WORKLOADS) / package
                        for package in sorted(used)
                    },
                    **{path: _WORKLOADS / path for path in sorted(_packages(used))},
                    LAUNCH_RUNTIME: _WORKLOADS / CHECKOUT_RUNTIME,
                },
                # All that is in the copy of a folder belongs to it.
                excludes=[
                    *_NOT_RUN,
                    "*/Dockerfile",
                    "*/Dockerfile.*",
                    *(f"!{package}/**" for package in sorted(own)),
                ],
                manifests={
                    shipped.path: render(
                        shipped.run, shipped.format, info, header=header, stages=shipped.stages
                    )
                    for shipped in self._shipped_runs
                },
                removal_policy=self._removal,
            )

    def started(self, info: ClusterInfo) -> dict[str, str]:
        """Return the manifests of the runs that the stack itself starts, by a name for each."""
        return {
            "Job" + pascal(f"{shipped.run.name}-{shipped.run.pool.name}-{shipped.run.nodes}"): render(
                shipped.run, shipped.format, info, stages=shipped.stages
            )
            for shipped in self._shipped_runs
            if shipped.apply
        }

    def _base_images(self) -> Iterator[tuple[str, WorkloadImage]]:
        """Yield the base of each kind of node that the cluster has, by its key in cluster info."""
        for name in self._settings.clusters[self._cluster].pools:
            pool = self._settings.pools[name]
            run = Run(_ANY, _ANY.reference, pool, pool.nodes)
            assert run.image.base
            architecture = run.facts.architecture
            yield base_image_key(run.image.base, architecture), self._base(_ANY.name, run.image, architecture)

    def _own_image(self, run: Run) -> WorkloadImage:
        """Return the image of a workload in a folder of one's own, on that of the folder's Dockerfile if it has one."""
        from trainforge.workload_image import BuildContext, WorkloadImage

        workload, architecture = run.workload, run.facts.architecture
        assert workload.folder
        base = self._base(run.image_name, run.image, architecture)
        # A scope of its own, because names of users' folders could be those of other constructs.
        own = Construct(self, f"Own{pascal(run.image_name)}")
        dockerfile = _dockerfile(run)
        with _build_context(workload) as context:
            if (workload.folder / dockerfile).is_file():
                base = WorkloadImage(
                    own,
                    "Environment",
                    context=BuildContext(context / "workload", dockerfile),
                    architecture=architecture,
                    base=base,
                    removal_policy=self._removal,
                )
            return WorkloadImage(
                own,
                "Image",
                context=BuildContext(context, OWN_DOCKERFILE),
                architecture=architecture,
                base=base,
                removal_policy=self._removal,
            )

    def _image(self, run: Run) -> WorkloadImage:
        # Not at the top: the library of builds takes time to load, and most syntheses build nothing.
        from trainforge.workload_image import BuildContext, WorkloadImage

        workload, architecture = run.workload, run.facts.architecture
        if workload.folder:
            return self._own_image(run)
        return WorkloadImage(
            self,
            pascal(run.image_name),
            context=BuildContext(
                _WORKLOADS,
                f"{workload.package}/{_dockerfile(run)}",
                includes=(workload.package, CHECKOUT_RUNTIME, *workload.packages),
                excludes=_NOT_RUN,
            ),
            architecture=architecture,
            base=self._base(run.image_name, run.image, architecture),
            removal_policy=self._removal,
        )

    def _base(self, name: str, image: Image, architecture: Architecture) -> WorkloadImage:
        """Return what an image called `name` is built on: that of our base is shared, another is the image's own."""
        from trainforge.workload_image import BuildContext, WorkloadImage

        shared = image.base is not None and not image.pins
        name = f"Base{pascal(image.base)}" if image.base and shared else f"{pascal(name)}Base"
        name += f"{'Arm64' if architecture == 'arm64' else ''}"
        if name not in self._bases:
            self._bases[name] = WorkloadImage(
                self,
                name,
                context=BuildContext(
                    _WORKLOADS, DOCKERFILE, includes=(DOCKERFILE,), arguments=image.build_arguments
                ),
                architecture=architecture,
                removal_policy=self._removal,
            )
        return self._bases[name]


def _packages(used: Mapping[str, Workload]) -> set[str]:
    """Return the folders that workloads import of others, unless those are shipped themselves."""
    paths = {path for workload in used.values() for path in workload.packages}
    return {path for path in paths if path.partition("/")[0] not in used}


def _dockerfile(run: Run) -> str:
    """Return the name of the Dockerfile of a run's image in the workload's folder; a stage's own has its name."""
    return f"{FOLDERS_DOCKERFILE}.{run.stage_name}" if run.own_image else FOLDERS_DOCKERFILE


def _copy(workload: Workload, target: Path) -> None:
    """Copy what is shipped of a folder of one's own: CDK's patterns cannot tell what that is."""
    assert workload.folder
    for file in own_files(workload.folder, workload.name).files:
        path = target / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source, path)
        path.chmod(file.mode)


@contextmanager
def _build_context(workload: Workload) -> Iterator[Path]:
    """Make the context of an image's build in a temporary folder; the CDK copies it into the cloud assembly at once."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        _copy(workload, context / "workload")
        shutil.copytree(
            _WORKLOADS / CHECKOUT_RUNTIME, context / "runtime", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copyfile(_WORKLOADS / "images" / OWN_DOCKERFILE, context / OWN_DOCKERFILE)
        yield context
