"""Containers under Slurm: what the script asks of srun is what pyxis and enroot document. Neither is run here."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import pytest

from catalog.cluster_info import ClusterInfo, Mount
from tests.unit.rendering import MPI, SAMPLES, SRUN, TORCH, run
from workloads.render.slurm import slurm
from workloads.spec import Workload

# Options of pyxis that take a value, as its README prints `srun --help` (NVIDIA/pyxis, commit 046f414), each with the
# form of its value: [USER@][REGISTRY#]IMAGE[:TAG] and SRC:DST[:FLAGS][,SRC:DST...].
OPTIONS = {
    "container-image": re.compile(
        r"(?:[^@#/]+@)?(?:[a-z0-9.-]+(?::\d+)?#)?[a-z0-9._/-]+(?::[A-Za-z0-9_.-]+)?"
    ),
    "container-mounts": re.compile(r"(/[^:,]+:/[^:,]+(:[a-z+]+)?)(,/[^:,]+:/[^:,]+(:[a-z+]+)?)*"),
    "container-workdir": re.compile(r"/.*"),
    "container-name": re.compile(r".+"),
    "container-save": re.compile(r"/.+"),
}
INFO = ClusterInfo.example("hyperpod", [sample.name for sample in SAMPLES])


def srun(text: str) -> list[str]:
    """Return the words of the script's srun."""
    [line] = re.findall(r"^srun .*$", text.replace("\\\n", ""), re.MULTILINE)
    return shlex.split(line)


def options(words: list[str]) -> dict[str, str]:
    return {name.removeprefix("--"): value for name, _, value in (word.partition("=") for word in words)}


@pytest.mark.parametrize("workload", [TORCH, SRUN, MPI], ids=lambda sample: sample.name)
@pytest.mark.parametrize("path", ["/fsx", "/shared/data"])
def test_srun_is_asked_as_pyxis_documents(workload: Workload, path: str) -> None:
    where = replace(INFO, mounts=(Mount(path, "lustre", "fs-0"),))
    words = srun(slurm(run(workload, "p5.48xlarge"), where))
    # Options of srun's own come before the command, or they would be the command's.
    asked = options(words[1 : words.index("bash")])
    found = {name: value for name, value in asked.items() if name.startswith(("container", "no-container"))}
    assert set(found) == {"container-image", "container-mounts"}
    for name, value in found.items():
        assert OPTIONS[name].fullmatch(value), (name, value)
    assert found["container-mounts"] == f"{path}:{path}"


def test_the_registry_is_separate_from_the_image() -> None:
    """enroot reads what precedes a # as the registry, and anything else as a path in Docker's."""
    image = options(srun(slurm(run(TORCH, "p5.48xlarge"), INFO)))["container-image"]
    registry, _, path = image.partition("#")
    assert f"{registry}/{path}" == INFO.images[TORCH.name]
    assert "." in registry
    assert "/" not in registry
    assert "#" not in path


def test_variables_of_a_container_are_exported() -> None:
    """pyxis hands on what srun's environment has, but not over a variable of the image's own."""
    text = slurm(run(TORCH, "p5.48xlarge"), INFO)
    assert "\nexport NODE\n" in text
    assert not [word for word in srun(text) if word.startswith("--export")]
