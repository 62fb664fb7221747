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
from catalog.storage import nearest_lustre_capacity
from settings.deployment import Settings
from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import (
    Shipping,
    facts,
    in_environments,
    in_images,
    shippings,
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
    for shipping in shippings(subject.settings):
        if shipping.cluster in SLURM:
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"'{shown(shipping.wanted.label)}' writes runs and checkpoints below '/fsx', and there no shared "
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
    for shipping in shippings(subject.settings):
        target = _file_system(subject.settings, shipping.cluster)
        if target is None:
            continue
        key, title, capacity = target
        pool = shipping.pool if shipping.pool and facts(shipping.pool.instance_type) else None
        if pool is None or shipping.path in seen:
            continue
        run = resolve(shipping.wanted.request(shipping.cluster, pool)).run
        needed = run.footprint if run else None
        if run is None or needed is None:
            continue
        seen.add(shipping.path)
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
    for shipping in shippings(subject.settings):
        target = _file_system(subject.settings, shipping.cluster)
        pool = shipping.pool if shipping.pool and facts(shipping.pool.instance_type) else None
        run = resolve(shipping.wanted.request(shipping.cluster, pool)).run if target else None
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
    for shipping, folder in in_environments(subject.settings):
        if shipping.path in seen or (_FOLDER.fullmatch(folder) and ".." not in PurePosixPath(folder).parts):
            continue
        seen.add(shipping.path)
        yield Problem(
            f"{shipping.path}.virtual_environment",
            folder,
            f"'{shown(folder)}' is not an absolute path of letters, digits and '._/-'",
            "write it as '/fsx/environments/torch'",
        )


@error("workload-environment-cluster")
def _workload_environment_cluster(subject: Subject) -> Iterator[Problem]:
    """Only Slurm starts a program on the node itself; elsewhere a job is a container."""
    for shipping, _ in in_environments(subject.settings):
        if Format.SLURM not in FORMATS.get(shipping.cluster, (Format.SLURM,)):
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"'{shown(shipping.wanted.label)}' cannot run in a virtual environment on "
                f"'{shipping.cluster}', which runs containers only",
                f"ship it with {listed(SLURM)}, or leave 'virtual_environment' out",
            )


@error("workload-environment-mixed")
def _mixed(subject: Subject) -> Iterator[Problem]:
    """One image or one environment of a workload is shipped to a cluster, for all of its runs."""
    first: dict[tuple[str, str], tuple[str, str | None]] = {}
    for shipping in shippings(subject.settings):
        wanted = shipping.wanted
        key = (wanted.reference, shipping.cluster)
        path, folder = first.setdefault(key, (shipping.path, wanted.virtual_environment))
        if folder != wanted.virtual_environment:
            one = f"in '{shown(folder)}'" if folder else "in its image"
            yield Problem(
                f"{shipping.path}.virtual_environment",
                wanted.virtual_environment or "",
                f"'{shown(wanted.label)}' runs {one} on '{shown(shipping.cluster)}' already, at '{path}'",
                "give both the same 'virtual_environment', or neither one",
            )


@error("workload-environment-programs", depends_on=("storage",))
def _programs(subject: Subject) -> Iterator[Problem]:
    """Without an image a program is in the data bucket alone, and nodes see that through Lustre."""
    why = why_unseen(subject.settings)
    if not why:
        return
    for shipping, folder in in_environments(subject.settings):
        if shipping.cluster in SLURM:
            yield Problem(
                f"{shipping.path}.virtual_environment",
                folder,
                f"nodes would not see the program of '{shown(shipping.wanted.label)}': {why}",
                "add 'storage.lustre' with its repository, or leave 'virtual_environment' out",
            )


@warning("workload-environment-local", depends_on=("storage",))
def _local(subject: Subject) -> Iterator[Problem]:
    """An environment that is not shared must be made on every node, and on each that replaces one."""
    storage = subject.settings.storage
    mounts = [PurePosixPath(section.mount_path) for section in (storage.lustre, storage.openzfs) if section]
    seen = set()
    for shipping, folder in in_environments(subject.settings):
        path = PurePosixPath(folder)
        if shipping.path in seen or any(mount in (path, *path.parents) for mount in mounts):
            continue
        seen.add(shipping.path)
        yield Problem(
            f"{shipping.path}.virtual_environment",
            folder,
            f"'{shown(folder)}' is on no shared file system, so every node needs one of its own",
            "choose a folder below a mount path, or acknowledge this where the nodes' image has it",
        )


def _first(settings: Settings) -> Iterator[Shipping]:
    """Yield each workload once, for rules to which the cluster does not matter."""
    return (shipping for shipping in shippings(settings) if shipping.cluster_path.endswith(".clusters.0"))


def run_findings(settings: Settings) -> Iterator[tuple[Shipping, Finding]]:
    """Yield what is said of each run; of a pool that is not there, or of an unknown type, only the names' part."""
    for shipping in shippings(settings):
        if shipping.cluster not in CLUSTERS:
            continue
        pool = shipping.pool if shipping.pool and facts(shipping.pool.instance_type) else None
        preparing = shipping.prepare_on
        prepare_on = preparing if preparing and facts(preparing.instance_type) else None
        for finding in resolve(shipping.wanted.request(shipping.cluster, pool, prepare_on)).findings:
            if pool or finding.path in ("workload", "preset", "format"):
                yield shipping, finding


_NAMED = ("workload", "preset", "format", "arguments")
"""Paths of findings that have a rule of their own."""


def _named(subject: Subject, key: str) -> Iterator[Problem]:
    """Yield what is wrong with the name under a key, once a workload."""
    seen = set()
    for shipping, finding in run_findings(subject.settings):
        path = f"{shipping.path}.{key}"
        # What is wrong with a folder of one's own is another rule's.
        if finding.path == key and path not in seen and not (key == "workload" and shipping.wanted.path):
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
    for shipping in _first(subject.settings):
        name = shipping.wanted.pool
        if shipping.pool is None:
            yield Problem(
                f"{shipping.path}.pool",
                name,
                f"there is no pool '{shown(name)}'{guess(name, pools)}",
                f"pools: {listed(pools, 'and')}" if pools else "describe it under 'pools'",
            )


@error("workload-prepare-on", depends_on=("pools.{value}",))
def _prepare_on(subject: Subject) -> Iterator[Problem]:
    """Stages run on the nodes of a pool of the cluster, in the workload's image, which is for one architecture."""
    settings = subject.settings
    for shipping in shippings(settings):
        name, path = shipping.wanted.prepare_on, f"{shipping.path}.prepare_on"
        if name is None:
            continue
        section = settings.clusters.get(shipping.cluster)
        if shipping.prepare_on is None:
            if shipping.cluster_path.endswith(".clusters.0"):
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
                f"'{shipping.cluster}.pools' does not list the pool '{shown(name)}' that the stages of "
                f"'{shown(shipping.wanted.label)}' run on",
                f"it lists {listed(section.pools, 'and')}",
            )
        elif shipping.pool and shipping.wanted.virtual_environment is None:
            known, other = facts(shipping.pool.instance_type), facts(shipping.prepare_on.instance_type)
            if known and other and known.architecture != other.architecture:
                yield Problem(
                    path,
                    name,
                    f"the image of '{shown(shipping.wanted.label)}' is for {known.architecture}, as the pool "
                    f"'{shown(shipping.wanted.pool)}' is, and these nodes are {other.architecture}",
                    "choose a pool of the same architecture",
                )


@error("workload-cluster", depends_on=("{value}",))
def _workload_cluster(subject: Subject) -> Iterator[Problem]:
    """A workload is shipped by a cluster's stack, and a section that is absent makes none."""
    settings = subject.settings
    there = list(settings.clusters)
    for shipping in shippings(settings):
        if shipping.cluster in there:
            continue
        if shipping.cluster in CLUSTERS:
            message = f"the configuration has no section '{shipping.cluster}'"
        else:
            meant = did_you_mean(shipping.cluster, CLUSTERS)
            message = f"workloads cannot be shipped with '{shown(shipping.cluster)}'{meant}"
        hint = f"clusters of this configuration: {listed(there, 'and')}" if there else "add the section"
        yield Problem(shipping.cluster_path, shipping.cluster, message, hint)


@error("workload-cluster-pool", depends_on=("{value}.pools",))
def _cluster_pool(subject: Subject) -> Iterator[Problem]:
    """A cluster has the nodes of the pools that it lists, and no others."""
    for shipping in shippings(subject.settings):
        section = subject.settings.clusters.get(shipping.cluster)
        if section and shipping.pool and shipping.pool.name not in section.pools:
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"'{shipping.cluster}.pools' does not list the pool '{shown(shipping.pool.name)}' that "
                f"'{shown(shipping.wanted.label)}' runs on",
                f"it lists {listed(section.pools, 'and')}",
            )


@error("workload-cluster-repeated")
def _cluster_repeated(subject: Subject) -> Iterator[Problem]:
    """Each run is one manifest of its cluster, named by preset, nodes and pool; two of one name replace each other."""
    seen: dict[tuple[object, ...], Shipping] = {}
    for shipping in shippings(subject.settings):
        wanted = shipping.wanted
        nodes = wanted.nodes or (shipping.pool.nodes if shipping.pool else None)
        run = resolve(wanted.request(shipping.cluster, shipping.pool)).run
        preset = run.preset.name if run else wanted.preset
        key = (wanted.reference, preset, wanted.pool, nodes, shipping.cluster)
        first = seen.setdefault(key, shipping)
        if first is shipping:
            continue
        differs = wanted.arguments != first.wanted.arguments
        yield Problem(
            shipping.cluster_path,
            shipping.cluster,
            f"'{shown(wanted.label)}' in this size is shipped with '{shown(shipping.cluster)}' already, "
            f"at '{first.cluster_path}'{', and arguments alone do not tell two manifests apart' if differs else ''}",
            _other_arguments(first.wanted, wanted, shipping.cluster) if differs else "remove one of them",
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
    """A job that asks for more nodes than its pool has waits for ever."""
    for shipping in _first(subject.settings):
        nodes, pool = shipping.wanted.nodes, shipping.pool
        if nodes and pool and nodes > pool.nodes:
            yield Problem(
                f"{shipping.path}.nodes",
                nodes,
                f"{nodes} nodes are more than the {pool.nodes} of the pool '{shown(pool.name)}'",
                "leave 'nodes' out to use all of the pool",
            )


@error("workload-format")
def _format(subject: Subject) -> Iterator[Problem]:
    """A cluster runs some formats, and a workload is proven in some."""
    for shipping, finding in run_findings(subject.settings):
        if finding.path == "format":
            yield Problem(shipping.cluster_path, shipping.cluster, finding.message, finding.hint)


def _of_runs(subject: Subject, *, errors: bool) -> Iterator[Problem]:
    """Yield what is wrong, or doubtful, with runs of known workloads on known types."""
    seen = set()
    for shipping, finding in run_findings(subject.settings):
        if finding.path in _NAMED or finding.is_error is not errors:
            continue
        counted = finding.path == "nodes" and shipping.wanted.nodes is not None
        key = "nodes" if counted else "pool"
        problem = Problem(
            f"{shipping.path}.{key}", getattr(shipping.wanted, key), finding.message, finding.hint
        )
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
    for shipping in in_images(subject.settings):
        known = facts(shipping.pool.instance_type) if shipping.pool else None
        if known is None:
            continue
        key = (shipping.wanted.reference, shipping.cluster)
        pool, architecture = first.setdefault(key, (shipping.wanted.pool, known.architecture))
        if known.architecture != architecture:
            yield Problem(
                f"{shipping.path}.pool",
                shipping.wanted.pool,
                f"the image of '{shown(shipping.wanted.label)}' on '{shown(shipping.cluster)}' is for "
                f"{architecture}, as the pool '{shown(pool)}' is, and these nodes are {known.architecture}",
                "choose pools of one architecture",
            )


@warning("workload-bundle-unseen", depends_on=("storage",))
def _unseen(subject: Subject) -> Iterator[Problem]:
    """Nodes see the data bucket through the Lustre file system that shows it, and jobs are submitted on nodes."""
    why = why_unseen(subject.settings)
    if not why:
        return
    for shipping in in_images(subject.settings):
        if shipping.cluster in SLURM:
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"nodes may not see the launch manifests of '{shown(shipping.wanted.label)}': {why}",
                f"fetch them on the cluster by 'aws s3 sync s3://BUCKET/launch/{shipping.cluster}'",
            )


@warning("workload-image-internet", depends_on=("network",))
def _internet(subject: Subject) -> Iterator[Problem]:
    """Images are built from public bases and packages, in CodeBuild outside the VPC, whatever the network is."""
    if not subject.settings.network.isolated:
        return
    for shipping in _first(subject.settings):
        if shipping.wanted.virtual_environment is not None:
            continue
        yield Problem(
            f"{shipping.path}.{'path' if shipping.wanted.path else 'workload'}",
            shipping.wanted.reference,
            f"the network is isolated, and the image of '{shown(shipping.wanted.label)}' is built outside it, "
            "from the internet",
            "nodes pull it inside; acknowledge this where that is allowed",
        )
