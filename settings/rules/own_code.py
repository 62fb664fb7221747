"""Rules on users' own code: workloads in folders outside the repository, and the base images that they run on."""

from __future__ import annotations

from collections.abc import Iterator

from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, in_images, own_name, why_unseen
from settings.rules.workloads import run_findings
from workloads.request import resolve


@error("workload-path")
def _own_folder(subject: Subject) -> Iterator[Problem]:
    """A user's own folder has a workload.py or a train.py, and files that can be shipped to nodes."""
    seen = set()
    for shipped, finding in run_findings(subject.settings):
        key = (shipped.path, finding.message)
        if finding.path == "workload" and shipped.entry.path and key not in seen:
            seen.add(key)
            yield Problem(f"{shipped.path}.path", shipped.entry.path, finding.message, finding.hint)


@error("workload-reference")
def _reference(subject: Subject) -> Iterator[Problem]:
    """An entry is a workload of ours, by its name, or one in a folder of the user's own."""
    for index, entry in enumerate(subject.settings.workloads):
        path = f"workloads.{index}"
        if entry.path and entry.workload:
            yield Problem(
                f"{path}.path",
                entry.path,
                f"both 'path' and 'workload' are given, and the workload is either '{shown(entry.workload)}' or in a "
                "folder",
                "leave one of them out",
            )
        elif not entry.reference:
            yield Problem(
                path,
                "",
                "neither 'workload' nor 'path' is given",
                "'workload' is a name of 'trainforge render --list', 'path' a folder of your own",
            )


@error("workload-name-repeated")
def _name_repeated(subject: Subject) -> Iterator[Problem]:
    """Images, folders and runs are named after the workload, and two of one name would replace each other."""
    first: dict[str, str] = {}
    for index, entry in enumerate(subject.settings.workloads):
        name = own_name(entry)
        if name and first.setdefault(name, entry.path) != entry.path:
            yield Problem(
                f"workloads.{index}.path",
                entry.path,
                f"the workload is called '{name}', as that of '{shown(first[name])}' is",
                "give one of them another name in its workload.py, or rename its folder",
            )


@error("base-images-cluster", depends_on=("{value}",))
def _base_images(subject: Subject) -> Iterator[Problem]:
    """Base images are built by a cluster's stack, and a section that is absent makes none."""
    there = list(subject.settings.clusters)
    for index, cluster in enumerate(subject.settings.base_images):
        if cluster not in there:
            yield Problem(
                f"base_images.{index}",
                cluster,
                f"the configuration has no cluster '{shown(cluster)}'{guess(cluster, there)}",
                f"clusters of this configuration: {listed(there, 'and')}" if there else "add the section",
            )


@warning("base-images-unseen", depends_on=("storage",))
def _base_images_unseen(subject: Subject) -> Iterator[Problem]:
    """Code that is launched from a folder is put into the data bucket, and nodes see that through Lustre."""
    why = why_unseen(subject.settings)
    for index, cluster in enumerate(subject.settings.base_images if why else ()):
        yield Problem(
            f"base_images.{index}",
            cluster,
            f"'trainforge launch FOLDER' would work on '{shown(cluster)}' only from a machine that mounts its "
            f"file system: {why}",
            "add 'storage.lustre' with its repository, or acknowledge this if you launch on login nodes",
        )


@error("workload-base", depends_on=("pools",))
def _base(subject: Subject) -> Iterator[Problem]:
    """A cluster has one image of a workload, and our bases are for one kind of accelerator each."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for shipped in in_images(subject.settings):
        pool = shipped.pool if shipped.pool and facts(shipped.pool.instance_type) else None
        run = (
            resolve(shipped.entry.request(shipped.cluster, pool)).run
            if pool and own_name(shipped.entry)
            else None
        )
        if run is None:
            continue
        known, base = first.setdefault((run.workload.name, shipped.cluster), (run.pool.name, str(run.image)))
        if base != str(run.image):
            yield Problem(
                f"{shipped.path}.pool",
                run.pool.name,
                f"the image of '{run.workload.name}' on '{shown(shipped.cluster)}' is built on '{base}', as the pool "
                f"'{shown(known)}' needs it, and these nodes need '{run.image}'",
                "choose pools of one kind, or ship a copy of the folder under another name",
            )
