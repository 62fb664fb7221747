"""Rules on virtual environments that workloads run in, in place of an image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from settings.checks.rule import Problem, Subject, error, warning
from settings.checks.shipping import SLURM_CLUSTERS, in_environments, shippings, why_unseen
from settings.parser.values import listed, shown
from workloads.formats import FORMATS
from workloads.spec import Format

_FOLDER = re.compile(r"(/[a-zA-Z0-9._-]+)+/?")


@error("workload-environment-path")
def _path(subject: Subject) -> Iterator[Problem]:
    """The folder stands in scripts of nodes, where nothing says what a relative one begins at."""
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
def _cluster(subject: Subject) -> Iterator[Problem]:
    """Only Slurm starts a program on the node itself; elsewhere a job is a container."""
    for shipping, _ in in_environments(subject.settings):
        if Format.SLURM not in FORMATS.get(shipping.cluster, (Format.SLURM,)):
            yield Problem(
                shipping.cluster_path,
                shipping.cluster,
                f"'{shown(shipping.wanted.workload)}' cannot run in a virtual environment on "
                f"'{shipping.cluster}', which runs containers only",
                f"ship it with {listed(SLURM_CLUSTERS)}, or leave 'virtual_environment' out",
            )


@error("workload-environment-mixed")
def _mixed(subject: Subject) -> Iterator[Problem]:
    """What is shipped of a workload on a cluster is one image or one environment, for all of its runs."""
    first: dict[tuple[str, str], tuple[str, str | None]] = {}
    for shipping in shippings(subject.settings):
        wanted = shipping.wanted
        key = (wanted.workload, shipping.cluster)
        path, folder = first.setdefault(key, (shipping.path, wanted.virtual_environment))
        if folder != wanted.virtual_environment:
            one = f"in '{shown(folder)}'" if folder else "in its image"
            yield Problem(
                f"{shipping.path}.virtual_environment",
                wanted.virtual_environment or "",
                f"'{shown(wanted.workload)}' runs {one} on '{shown(shipping.cluster)}' already, at '{path}'",
                "give both the same 'virtual_environment', or neither one",
            )


@error("workload-environment-programs", leans_on=("storage",))
def _programs(subject: Subject) -> Iterator[Problem]:
    """Without an image a program lies in the data bucket alone, and nodes see that through Lustre."""
    why = why_unseen(subject.settings)
    if not why:
        return
    for shipping, folder in in_environments(subject.settings):
        if shipping.cluster in SLURM_CLUSTERS:
            yield Problem(
                f"{shipping.path}.virtual_environment",
                folder,
                f"nodes would not see the program of '{shown(shipping.wanted.workload)}': {why}",
                "add 'storage.lustre' with its repository, or leave 'virtual_environment' out",
            )


@warning("workload-environment-local", leans_on=("storage",))
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
            f"'{shown(folder)}' lies on no shared file system, so every node needs one of its own",
            "choose a folder below a mount path, or acknowledge this where the nodes' image has it",
        )
