"""Programs of launch lines, which must be in the image: every workload and format against the images' programs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from catalog.cluster_info import ClusterInfo
from tests.unit.rendering import MPI, SRUN
from workloads import registry
from workloads.formats import FORMATS
from workloads.images.image import PROGRAMS
from workloads.render.all import render
from workloads.spec import Format, Run, Workload

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
LAUNCHES = [
    (registry.workload(name), format_, cluster)
    for name in registry.names()
    for cluster, formats in FORMATS.items()
    for format_ in formats
    # This machine's own virtual environment serves it, and no image.
    if format_ in registry.workload(name).formats and format_ is not Format.LOCAL
]


def scripts(text: str, format_: Format) -> Iterator[str]:
    """Yield the scripts of a manifest: itself, or every text of several lines in its document."""

    def search(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from search(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from search(inner)
        elif isinstance(value, str) and "\n" in value:
            yield value

    match format_:
        case Format.SLURM:
            yield text
        case Format.BATCH:
            yield from search(json.loads(text))
        case _:
            yield from search(yaml.safe_load(text))


def started(script: str) -> Iterator[str]:
    """Yield what a script starts in its place: each `exec` line's program, and the one that a guard starts."""
    for line in script.replace("\\\n", " ").splitlines():
        if not line.strip().startswith("exec "):
            continue
        words = shlex.split(line.strip())[1:]
        while words:
            while words[0] == "env" or ASSIGNMENT.match(words[0]):
                words = words[1:]
            found = re.fullmatch(r"\$\(command -v (\S+)\)", words[0])
            # A guard that only looks at a node starts true, which every image has.
            if words[0] != "true":
                yield found[1] if found else words[0].rpartition("/")[2]
            words = words[words.index("--") + 1 :] if "--" in words else []


def launched(workload: Workload, format_: Format, cluster: str) -> set[str]:
    """Return the programs of an image that the reference run's manifest starts."""
    text = render(Run.reference(workload), format_, ClusterInfo.example(cluster, [workload.name]))
    return {program for script in scripts(text, format_) for program in started(script)}


@pytest.mark.parametrize(
    ("workload", "format_", "cluster"),
    LAUNCHES,
    ids=[f"{one.name}-{two}-{three}" for one, two, three in LAUNCHES],
)
def test_what_a_launch_line_starts_is_in_the_image(workload: Workload, format_: Format, cluster: str) -> None:
    found = launched(workload, format_, cluster)
    assert found
    own = registry.folder(workload) / "Dockerfile"
    # It installs sshd, or ends the build of an image whose base lacks a program.
    text = own.read_text(encoding="utf-8")
    added = set(re.findall(r"command -v ([\w-]+)", text))
    if "openssh-server" in text or "test -x /usr/sbin/sshd" in text:
        added.add("sshd")
    image = Run.reference(workload).image
    assert found <= set(image.launch_programs) | added, f"'{image}' lacks {found}"


def test_launch_lines_are_read_as_they_are() -> None:
    fsdp, cpu_ddp = registry.workload("fsdp"), registry.workload("cpu-ddp")
    assert launched(cpu_ddp, Format.HYPERPODPYTORCHJOB, "hyperpod_eks") == {"python3", "hyperpodrun"}
    assert launched(cpu_ddp, Format.SLURM, "hyperpod") == {"python3", "torchrun"}
    # The guard first, then what it starts.
    assert launched(fsdp, Format.TRAINJOB, "eks") == {"python3", "torchrun"}
    assert launched(fsdp, Format.BATCH, "batch") == {"python3", "torchrun"}
    assert launched(SRUN, Format.PYTORCHJOB, "eks") == {"python3"}
    # A workload of this kind needs more than images have: sshd. Its test would say so.
    assert launched(MPI, Format.MPIJOB, "eks") == {"python3", "mpirun", "sshd"}
    assert "sshd" not in PROGRAMS
