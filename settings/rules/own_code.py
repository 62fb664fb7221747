"""Rules on code of one's own: workloads in folders outside the repository, and the base images that they run on."""

from __future__ import annotations

from collections.abc import Iterator

from settings.parser.values import guess, listed, shown
from settings.rules.rule import Problem, Subject, error, warning
from settings.rules.selection import facts, in_images, own_name, why_unseen
from settings.rules.workloads import run_findings
from workloads.request import resolve


@error("workload-path")
def _own_folder(subject: Subject) -> Iterator[Problem]:
    """A folder of one's own has a workload.py or a train.py, and files that nodes can have."""
    seen = set()
    for shipping, finding in run_findings(subject.settings):
        key = (shipping.path, finding.message)
        if finding.path == "workload" and shipping.wanted.path and key not in seen:
            seen.add(key)
            yield Problem(f"{shipping.path}.path", shipping.wanted.path, finding.message, finding.hint)


@error("workload-reference")
def _reference(subject: Subject) -> Iterator[Problem]:
    """An entry is a workload of ours, by its name, or one in a folder of the user's own."""
    for index, wanted in enumerate(subject.settings.workloads):
        path = f"workloads.{index}"
        if wanted.path and wanted.workload:
            yield Problem(
                f"{path}.path",
                wanted.path,
                f"both 'path' and 'workload' are given, and the workload is either '{shown(wanted.workload)}' or in a "
                "folder",
                "leave one of them out",
            )
        elif not wanted.reference:
            yield Problem(
                path,
                "",
                "neither 'workload' nor 'path' says what runs",
                "'workload' is a name of 'trainforge render --list', 'path' a folder of your own",
            )


@error("workload-name-repeated")
def _name_repeated(subject: Subject) -> Iterator[Problem]:
    """Images, folders and runs are named after the workload, and two of one name would take each other's place."""
    first: dict[str, str] = {}
    for index, wanted in enumerate(subject.settings.workloads):
        name = own_name(wanted)
        if name and first.setdefault(name, wanted.path) != wanted.path:
            yield Problem(
                f"workloads.{index}.path",
                wanted.path,
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
            f"'trainforge launch FOLDER' would reach the nodes of '{shown(cluster)}' from a machine alone that has "
            f"their file system: {why}",
            "add 'storage.lustre' with its repository, or acknowledge this where login nodes launch",
        )


@error("workload-base", depends_on=("pools",))
def _base(subject: Subject) -> Iterator[Problem]:
    """A cluster has one image of a workload, and our bases are for one kind of accelerator each."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for shipping in in_images(subject.settings):
        pool = shipping.pool if shipping.pool and facts(shipping.pool.instance_type) else None
        run = (
            resolve(shipping.wanted.request(shipping.cluster, pool)).run
            if pool and own_name(shipping.wanted)
            else None
        )
        if run is None:
            continue
        known, base = first.setdefault((run.workload.name, shipping.cluster), (run.pool.name, str(run.image)))
        if base != str(run.image):
            yield Problem(
                f"{shipping.path}.pool",
                run.pool.name,
                f"the image of '{run.workload.name}' on '{shown(shipping.cluster)}' is built on '{base}', as the pool "
                f"'{shown(known)}' needs it, and these nodes need '{run.image}'",
                "choose pools of one kind, or ship a copy of the folder under another name",
            )
