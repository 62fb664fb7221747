"""Rules on shipped workloads: that they fit pools and clusters and nodes see them; environments and run folders."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from catalog.cluster_kinds import CLUSTERS, SLURM
from catalog.finding import Finding
from catalog.spelling import did_you_mean
from catalog.storage import launch_prefix, nearest_lustre_capacity
from settings.deployment import Settings
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import (
    ShippedWorkload,
    facts,
    in_environments,
    in_images,
    shipped_workloads,
    why_unseen,
)
from settings.rules.storage import made_lustre, made_openzfs
from settings.sections.workloads import WorkloadSettings
from workloads.footprint import GIB, gib
from workloads.formats import FORMATS
from workloads.request import resolve
from workloads.spec import Format


@error("workload-shared-folder", too_strict=True, depends_on=("storage",))
def _not_shared(subject: Subject) -> Iterator[Problem]:
    """A run's folder holds its checkpoints, which every node must see: Slurm jobs have it in Lustre, else in OpenZFS.

    Too strict where nodes mount a file system of one's own at /fsx. Pods and Batch have rules of their own.
    """
    storage = subject.settings.storage
    if storage.lustre or storage.openzfs:
        return
    for shipped in shipped_workloads(subject.settings):
        if shipped.cluster in SLURM:
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shown(shipped.entry.label)}' writes runs and checkpoints below '/fsx', where no shared "
                "file system is mounted",
                "add 'lustre: {}' under 'storage'",
            )


def _file_system(settings: Settings, cluster: str) -> tuple[str, str, int] | None:
    """Return key, name and GiB of the file system that runs of a cluster write to; None where that is not known."""
    storage = settings.storage
    if storage.lustre:
        lustre = made_lustre(settings)
        return ("lustre", "Lustre", lustre.capacity_gib) if lustre else None
    openzfs = made_openzfs(settings)
    if openzfs is None or cluster not in SLURM:
        return None
    return "openzfs", "OpenZFS", openzfs.capacity_gib


@error("workload-checkpoints", too_strict=True, depends_on=("pools", "storage"))
def _too_large(subject: Subject) -> Iterator[Problem]:
    """A run whose file system is full cannot save, and what it has computed since is lost.

    One checkpoint is written before the oldest goes, so one more than those that stay must fit. Too strict where the
    file system compresses them, which LZ4 hardly does with trained weights, or where old ones are moved away.
    """
    seen = set()
    for shipped in shipped_workloads(subject.settings):
        target = _file_system(subject.settings, shipped.cluster)
        if target is None:
            continue
        key, title, capacity = target
        pool = shipped.pool if shipped.pool and facts(shipped.pool.instance_type) else None
        if pool is None or shipped.path in seen:
            continue
        run = resolve(shipped.entry.request(shipped.cluster, pool)).run
        needed = run.footprint if run else None
        if run is None or needed is None:
            continue
        seen.add(shipped.path)
        most = needed.checkpoints * needed.checkpoint
        if most > capacity * GIB:
            enough = -(-most // GIB)
            yield Problem(
                f"storage.{key}.capacity_gib",
                capacity,
                f"'{shown(run.workload.name)}' with the preset '{run.preset.name}' has up to {needed.checkpoints} "
                f"checkpoints of {gib(needed.checkpoint)} at a time, {gib(most)}, and the {title} file system has "
                f"{capacity:,} GiB",
                _enough(key, enough),
            )


def _enough(key: str, gibibytes: int) -> str:
    """Return what to change where a file system is too small."""
    capacity = nearest_lustre_capacity(gibibytes)
    if key == "lustre":
        return f"set 'capacity_gib: {capacity}' or more under 'storage.lustre'"
    return f"add 'lustre: {{}}' under 'storage', which runs then use, with a 'capacity_gib' of {capacity} or more"


@error("workload-assets", too_strict=True, depends_on=("storage",))
def _too_large_assets(subject: Subject) -> Iterator[Problem]:
    """A download that fills the file system fails after hours, and so does every run that saves meanwhile.

    Workloads share the folders of assets: each counts once, at the largest size that a workload gives it, and those of
    unknown size are left out. Too strict where the file system compresses them, or shows files of the data bucket that
    it need not hold all at once.
    """
    files: dict[tuple[str, str, int], dict[str, float]] = {}
    for shipped in shipped_workloads(subject.settings):
        target = _file_system(subject.settings, shipped.cluster)
        pool = shipped.pool if shipped.pool and facts(shipped.pool.instance_type) else None
        run = resolve(shipped.entry.request(shipped.cluster, pool)).run if target else None
        if target is None or run is None:
            continue
        sizes = files.setdefault(target, {})
        for asset in run.workload.assets:
            if asset.size_gib is not None:
                sizes[asset.folder] = max(sizes.get(asset.folder, 0), asset.size_gib)
    for (key, title, capacity), sizes in files.items():
        total = sum(sizes.values())
        if total > capacity:
            enough = math.ceil(total)
            yield Problem(
                f"storage.{key}.capacity_gib",
                capacity,
                f"the assets {', '.join(f'{folder!r} ({size:,g} GiB)' for folder, size in sizes.items())} of the "
                f"workloads take {total:,g} GiB, and the {title} file system has {capacity:,} GiB",
                _enough(key, enough),
            )


_FOLDER = re.compile(r"(/[a-zA-Z0-9._-]+)+/?")


@error("workload-environment-path")
def _path(subject: Subject) -> Iterator[Problem]:
    """The folder is written into scripts of nodes, which have no folder that a relative one could begin at."""
    seen = set()
    for shipped, folder in in_environments(subject.settings):
        if shipped.path in seen or (_FOLDER.fullmatch(folder) and ".." not in PurePosixPath(folder).parts):
            continue
        seen.add(shipped.path)
        yield Problem(
            f"{shipped.path}.virtual_environment",
            folder,
            f"'{shown(folder)}' is not an absolute path of letters, digits and '._/-'",
            "write it as '/fsx/environments/torch'",
        )


@error("workload-environment-cluster")
def _workload_environment_cluster(subject: Subject) -> Iterator[Problem]:
    """Only Slurm starts a program on the node itself; elsewhere a job is a container."""
    for shipped, _ in in_environments(subject.settings):
        if Format.SLURM not in FORMATS.get(shipped.cluster, (Format.SLURM,)):
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shown(shipped.entry.label)}' cannot run in a virtual environment on "
                f"'{shipped.cluster}', which runs containers only",
                f"ship it with {listed(SLURM)}, or leave 'virtual_environment' out",
            )


@error("workload-environment-mixed")
def _mixed(subject: Subject) -> Iterator[Problem]:
    """One image or one environment of a workload is shipped to a cluster, for all of its runs."""
    first: dict[tuple[str, str], tuple[str, str | None]] = {}
    for shipped in shipped_workloads(subject.settings):
        entry = shipped.entry
        key = (entry.reference, shipped.cluster)
        path, folder = first.setdefault(key, (shipped.path, entry.virtual_environment))
        if folder != entry.virtual_environment:
            one = f"in '{shown(folder)}'" if folder else "in its image"
            yield Problem(
                f"{shipped.path}.virtual_environment",
                entry.virtual_environment or "",
                f"'{shown(entry.label)}' runs {one} on '{shown(shipped.cluster)}' already, at '{path}'",
                "give both the same 'virtual_environment', or remove it from both",
            )


@error("workload-environment-programs", depends_on=("storage",))
def _programs(subject: Subject) -> Iterator[Problem]:
    """Without an image a program is in the data bucket alone, and nodes see that through Lustre."""
    why = why_unseen(subject.settings)
    if not why:
        return
    for shipped, folder in in_environments(subject.settings):
        if shipped.cluster in SLURM:
            yield Problem(
                f"{shipped.path}.virtual_environment",
                folder,
                f"nodes would not see the program of '{shown(shipped.entry.label)}': {why}",
                "add 'storage.lustre' with its repository, or leave 'virtual_environment' out",
            )


@warning("workload-environment-local", depends_on=("storage",))
def _local(subject: Subject) -> Iterator[Problem]:
    """An environment that is not shared must be made on every node, and on each that replaces one."""
    storage = subject.settings.storage
    mounts = [PurePosixPath(section.mount_path) for section in (storage.lustre, storage.openzfs) if section]
    seen = set()
    for shipped, folder in in_environments(subject.settings):
        path = PurePosixPath(folder)
        if shipped.path in seen or any(mount in (path, *path.parents) for mount in mounts):
            continue
        seen.add(shipped.path)
        yield Problem(
            f"{shipped.path}.virtual_environment",
            folder,
            f"'{shown(folder)}' is on no shared file system, so every node needs its own environment there",
            "choose a folder below a mount path, or acknowledge this if the nodes' image contains it",
        )


def _first(settings: Settings) -> Iterator[ShippedWorkload]:
    """Yield each workload once, for rules to which the cluster does not matter."""
    return (
        shipped for shipped in shipped_workloads(settings) if shipped.cluster_path.endswith(".clusters.0")
    )


def run_findings(settings: Settings) -> Iterator[tuple[ShippedWorkload, Finding]]:
    """Yield what is said of each run; of a pool that is not there, or of an unknown type, only the names' part."""
    for shipped in shipped_workloads(settings):
        if shipped.cluster not in CLUSTERS:
            continue
        pool = shipped.pool if shipped.pool and facts(shipped.pool.instance_type) else None
        preparing = shipped.prepare_on
        prepare_on = preparing if preparing and facts(preparing.instance_type) else None
        for finding in resolve(shipped.entry.request(shipped.cluster, pool, prepare_on)).findings:
            if pool or finding.path in ("workload", "preset", "format"):
                yield shipped, finding


_NAMED = ("workload", "preset", "format", "arguments")
"""Paths of findings that have a rule of their own."""


def _named(subject: Subject, key: str) -> Iterator[Problem]:
    """Yield what is wrong with the name under a key, once per workload."""
    seen = set()
    for shipped, finding in run_findings(subject.settings):
        path = f"{shipped.path}.{key}"
        # Another rule reports mistakes in a user's own folder.
        if finding.path == key and path not in seen and not (key == "workload" and shipped.entry.path):
            seen.add(path)
            yield Problem(path, finding.value, finding.message, finding.hint)


@error("workload-unknown")
def _unknown(subject: Subject) -> Iterator[Problem]:
    """A workload is a folder of `workloads/` with a description."""
    for problem in _named(subject, "workload"):
        if problem.value:
            yield problem


@error("workload-preset")
def _preset(subject: Subject) -> Iterator[Problem]:
    """A preset is one of the sizes that the workload describes."""
    yield from _named(subject, "preset")


@error("workload-arguments")
def _arguments(subject: Subject) -> Iterator[Problem]:
    """A program that refuses its arguments does so on every node, once all have started and are paid for."""
    yield from _named(subject, "arguments")


@error("workload-pool", depends_on=("pools.{value}",))
def _pool(subject: Subject) -> Iterator[Problem]:
    """A workload runs on the nodes of one pool."""
    pools = subject.settings.pools
    for shipped in _first(subject.settings):
        name = shipped.entry.pool
        if shipped.pool is None:
            yield Problem(
                f"{shipped.path}.pool",
                name,
                f"there is no pool '{shown(name)}'{guess(name, pools)}",
                f"pools: {listed(pools, 'and')}" if pools else "describe it under 'pools'",
            )


@error("workload-prepare-on", depends_on=("pools.{value}",))
def _prepare_on(subject: Subject) -> Iterator[Problem]:
    """Stages run on the nodes of a pool of the cluster, in the workload's image, which is for one architecture."""
    settings = subject.settings
    for shipped in shipped_workloads(settings):
        name, path = shipped.entry.prepare_on, f"{shipped.path}.prepare_on"
        if name is None:
            continue
        section = settings.clusters.get(shipped.cluster)
        if shipped.prepare_on is None:
            if shipped.cluster_path.endswith(".clusters.0"):
                yield Problem(
                    path,
                    name,
                    f"there is no pool '{shown(name)}'{guess(name, settings.pools)}",
                    f"pools: {listed(settings.pools, 'and')}"
                    if settings.pools
                    else "describe it under 'pools'",
                )
        elif section and name not in section.pools:
            yield Problem(
                path,
                name,
                f"'{shipped.cluster}.pools' does not list the pool '{shown(name)}' that the stages of "
                f"'{shown(shipped.entry.label)}' run on",
                f"it lists {listed(section.pools, 'and')}",
            )
        elif shipped.pool and shipped.entry.virtual_environment is None:
            known, other = facts(shipped.pool.instance_type), facts(shipped.prepare_on.instance_type)
            if known and other and known.architecture != other.architecture:
                yield Problem(
                    path,
                    name,
                    f"the image of '{shown(shipped.entry.label)}' is for {known.architecture}, as the pool "
                    f"'{shown(shipped.entry.pool)}' is, and these nodes are {other.architecture}",
                    "choose a pool of the same architecture",
                )


@error("workload-cluster", depends_on=("{value}",))
def _workload_cluster(subject: Subject) -> Iterator[Problem]:
    """A workload is shipped by a cluster's stack, and a section that is absent makes none."""
    settings = subject.settings
    there = list(settings.clusters)
    for shipped in shipped_workloads(settings):
        if shipped.cluster in there:
            continue
        if shipped.cluster in CLUSTERS:
            message = f"the configuration has no section '{shipped.cluster}'"
        else:
            meant = did_you_mean(shipped.cluster, CLUSTERS)
            message = f"workloads cannot be shipped with '{shown(shipped.cluster)}'{meant}"
        hint = f"clusters of this configuration: {listed(there, 'and')}" if there else "add the section"
        yield Problem(shipped.cluster_path, shipped.cluster, message, hint)


@error("workload-cluster-pool", depends_on=("{value}.pools",))
def _cluster_pool(subject: Subject) -> Iterator[Problem]:
    """A cluster has the nodes of the pools that it lists, and no others."""
    for shipped in shipped_workloads(subject.settings):
        section = subject.settings.clusters.get(shipped.cluster)
        if section and shipped.pool and shipped.pool.name not in section.pools:
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"'{shipped.cluster}.pools' does not list the pool '{shown(shipped.pool.name)}' that "
                f"'{shown(shipped.entry.label)}' runs on",
                f"it lists {listed(section.pools, 'and')}",
            )


@error("workload-cluster-repeated")
def _cluster_repeated(subject: Subject) -> Iterator[Problem]:
    """Each run is one manifest of its cluster, named by preset, nodes and pool; two of one name replace each other."""
    seen: dict[tuple[object, ...], ShippedWorkload] = {}
    for shipped in shipped_workloads(subject.settings):
        entry = shipped.entry
        nodes = entry.nodes or (shipped.pool.nodes if shipped.pool else None)
        run = resolve(entry.request(shipped.cluster, shipped.pool)).run
        preset = run.preset.name if run else entry.preset
        key = (entry.reference, preset, entry.pool, nodes, shipped.cluster)
        first = seen.setdefault(key, shipped)
        if first is shipped:
            continue
        differs = entry.arguments != first.entry.arguments
        yield Problem(
            shipped.cluster_path,
            shipped.cluster,
            f"'{shown(entry.label)}' in this size is shipped with '{shown(shipped.cluster)}' already, "
            f"at '{first.cluster_path}'{', and arguments alone do not tell two manifests apart' if differs else ''}",
            _other_arguments(first.entry, entry, shipped.cluster) if differs else "remove one of them",
        )


def _other_arguments(first: WorkloadSettings, second: WorkloadSettings, cluster: str) -> str:
    """Return how a size that is shipped once runs with the arguments of two entries."""
    preset = ["--preset", second.preset] if second.preset else []
    words = [second.label, "--on", cluster, *preset, "--", *(second.arguments or first.arguments)]
    return (
        "keep one entry and give the other's arguments at launch: "
        f"trainforge launch {shown(shlex.join(words))}; or choose another preset, pool or number of nodes for one"
    )


@error("workload-nodes", depends_on=("pools",))
def _nodes(subject: Subject) -> Iterator[Problem]:
    """A job that asks for more nodes than its pool has never starts."""
    for shipped in _first(subject.settings):
        nodes, pool = shipped.entry.nodes, shipped.pool
        if nodes and pool and nodes > pool.nodes:
            yield Problem(
                f"{shipped.path}.nodes",
                nodes,
                f"{nodes} nodes are more than the {pool.nodes} of the pool '{shown(pool.name)}'",
                "leave 'nodes' out to use all of the pool",
            )


@error("workload-format")
def _format(subject: Subject) -> Iterator[Problem]:
    """A cluster runs some formats, and a workload is proven in some."""
    for shipped, finding in run_findings(subject.settings):
        if finding.path == "format":
            yield Problem(shipped.cluster_path, shipped.cluster, finding.message, finding.hint)


def _of_runs(subject: Subject, *, errors: bool) -> Iterator[Problem]:
    """Yield the findings on runs of known workloads on known types."""
    seen = set()
    for shipped, finding in run_findings(subject.settings):
        if finding.path in _NAMED or finding.is_error is not errors:
            continue
        counted = finding.path == "nodes" and shipped.entry.nodes is not None
        key = "nodes" if counted else "pool"
        problem = Problem(f"{shipped.path}.{key}", getattr(shipped.entry, key), finding.message, finding.hint)
        if problem not in seen:
            seen.add(problem)
            yield problem


@error("workload-run", depends_on=("pools",))
def _run(subject: Subject) -> Iterator[Problem]:
    """Resources that a run needs and its nodes lack would show only after the job has waited for the nodes."""
    yield from _of_runs(subject, errors=True)


@warning("workload-run-slow", depends_on=("pools",))
def _run_slow(subject: Subject) -> Iterator[Problem]:
    """Such a run works, at a fraction of what is paid for."""
    yield from _of_runs(subject, errors=False)


@error("workload-architecture", depends_on=("pools",))
def _architecture(subject: Subject) -> Iterator[Problem]:
    """An image is built for one kind of processor, and a cluster has one image of a workload."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for shipped in in_images(subject.settings):
        known = facts(shipped.pool.instance_type) if shipped.pool else None
        if known is None:
            continue
        key = (shipped.entry.reference, shipped.cluster)
        pool, architecture = first.setdefault(key, (shipped.entry.pool, known.architecture))
        if known.architecture != architecture:
            yield Problem(
                f"{shipped.path}.pool",
                shipped.entry.pool,
                f"the image of '{shown(shipped.entry.label)}' on '{shown(shipped.cluster)}' is for "
                f"{architecture}, as the pool '{shown(pool)}' is, and these nodes are {known.architecture}",
                "choose pools of one architecture",
            )


@warning("workload-bundle-unseen", depends_on=("storage",))
def _unseen(subject: Subject) -> Iterator[Problem]:
    """Nodes see the data bucket through the Lustre file system that shows it, and jobs are submitted on nodes."""
    why = why_unseen(subject.settings)
    if not why:
        return
    for shipped in in_images(subject.settings):
        if shipped.cluster in SLURM:
            yield Problem(
                shipped.cluster_path,
                shipped.cluster,
                f"nodes may not see the launch manifests of '{shown(shipped.entry.label)}': {why}",
                f"fetch them on the cluster by 'aws s3 sync s3://BUCKET/{launch_prefix(shipped.cluster)}'",
            )


@warning("workload-image-internet", depends_on=("network",))
def _internet(subject: Subject) -> Iterator[Problem]:
    """Images are built from public bases and packages, in CodeBuild outside the VPC, whatever the network is."""
    if not subject.settings.network.isolated:
        return
    for shipped in _first(subject.settings):
        if shipped.entry.virtual_environment is not None:
            continue
        yield Problem(
            f"{shipped.path}.{'path' if shipped.entry.path else 'workload'}",
            shipped.entry.reference,
            f"the network is isolated, and the image of '{shown(shipped.entry.label)}' is built outside it, "
            "from the internet",
            "nodes pull it through endpoints; acknowledge this if such a build is allowed",
        )
