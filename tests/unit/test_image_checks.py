"""The checks of a base image's build: its own commands, run by bash with fakes of the image's programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from catalog.versions import AWS_OFI_NCCL, EFA_SIGNING_KEY, GDRCOPY, GDRCOPY_COMMIT, LIBFABRIC, NCCL
from tests.unit.test_dockerfiles import BASE, BASES, instructions
from workloads.images.image import Base, Image

FI_INFO = 'printf "%s\\n" "fi_info: ${LIBFABRIC}" "libfabric: ${LIBFABRIC}" "libfabric api: 2.4"'
DPKG = 'for version in ${PLUGIN}; do echo "${version}"; done; echo'
# Only what is asked: the CUDA that torch was built for, and the NCCL that it loads.
PYTHON = 'case "$2" in *version.cuda*) echo "${TORCH_CUDA}";; *nccl*) echo "${TORCH_NCCL}";; *) exit 3;; esac'
HERE = ("cat", "sed", "sort", "head", "tr", "rm", "env")


def command(part: str) -> str:
    """Return the one command of the Dockerfile that has `part` in it."""
    [found] = [line for line in instructions(BASE) if line.startswith("RUN ") and part in line]
    return found.removeprefix("RUN ")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a folder of programs: all that an image of any base promises, and what the checks ask."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in HERE:
        real = shutil.which(name)
        assert real
        (folder / name).symlink_to(real)
    bodies = {"fi_info": FI_INFO, "dpkg-query": DPKG, "python3": PYTHON}
    for base in BASES:
        for name in Image(base).launch_programs:
            bodies.setdefault(name, ":")
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def run(script: str, image: Path, base: Base | Image, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the build in the shell that the Dockerfile names, with the base's arguments."""
    bash = shutil.which("bash")
    assert bash
    found = {"LIBFABRIC": f"{LIBFABRIC}amzn3.0", "PLUGIN": f"{AWS_OFI_NCCL}-1", "TORCH_NCCL": str(NCCL)}
    told = (base if isinstance(base, Image) else Image(base)).build_arguments
    cuda = told["PIN_CUDA"].rpartition(".")[0] or "none"
    return subprocess.run(
        [bash, "-euo", "pipefail", "-c", script],
        env={**told, **found, "TORCH_CUDA": cuda, **variables, "PATH": os.fspath(image)},
        cwd=image.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def checked(image: Path, base: Base | Image, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(command("for program in"), image, base, **variables)


@pytest.mark.parametrize("base", BASES)
def test_an_image_as_the_catalog_has_it_is_built(image: Path, base: Base) -> None:
    done = checked(image, base)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("base", "variables", "said"),
    [
        (
            "cpu",
            {"LIBFABRIC": "1.22.0amzn5.0"},
            f"libfabric of this image is '1.22.0', and the catalog has '{LIBFABRIC}'",
        ),
        ("cuda", {"LIBFABRIC": ""}, "libfabric of this image is ''"),
        ("cuda", {"PLUGIN": "1.16.2-1"}, "aws-ofi-nccl of this image is '1.16.2'"),
        ("ngc", {"PLUGIN": ""}, "aws-ofi-nccl of this image is ''"),
        ("ngc", {"PLUGIN": f"{AWS_OFI_NCCL}-1 1.6.0-1"}, "aws-ofi-nccl of this image is"),
        ("cuda", {"TORCH_NCCL": "2.27.5"}, f"NCCL of this image is '2.27.5', and the catalog has '{NCCL}'"),
        ("cuda", {"TORCH_NCCL": "2.100.1"}, "NCCL of this image is '2.100.1'"),
        ("ngc", {"TORCH_NCCL": "2.9.6"}, "NCCL of this image is '2.9.6'"),
        ("cpu", {"TORCH_CUDA": "13.0"}, "CUDA of torch of this image is '13.0', and the catalog has 'none'"),
        ("cuda", {"TORCH_CUDA": "none"}, "CUDA of torch of this image is 'none', and the catalog has '13.0'"),
    ],
)
def test_another_version_than_the_catalogs_ends_the_build(
    image: Path, base: Base, variables: dict[str, str], said: str
) -> None:
    done = checked(image, base, **variables)
    assert done.returncode == 1
    assert said in done.stderr


def test_an_ngc_image_may_bring_a_newer_nccl(image: Path) -> None:
    assert checked(image, "ngc", TORCH_NCCL="2.100.1").returncode == 0


def test_a_vendors_image_keeps_its_parts_and_has_its_listed_programs(image: Path) -> None:
    """Neither its packages nor its fabric are touched: the first step and every other that is left out end at once."""
    vendors = Image(reference="registry.example/framework:1.2", programs=("torchrun",))
    assert checked(image, vendors, LIBFABRIC="1.0", TORCH_NCCL="2.1.1", PLUGIN="").returncode == 0
    for part in (
        "apt-get remove",
        "git clone",
        "efa_installer.sh",
        "--torch-backend",
        "hyperpod-elastic-agent",
    ):
        done = run(command(part), image, vendors)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), part
    (image / "torchrun").unlink()
    assert "this image lacks torchrun" in checked(image, vendors).stderr


def test_a_pin_of_a_workload_takes_the_place_of_the_catalogs(image: Path) -> None:
    own = Image("cuda", pins={"TORCH": "2.8.0", "NCCL": "2.27.3"})
    assert checked(image, own, TORCH_NCCL="2.27.3").returncode == 0
    assert "NCCL of this image is" in checked(image, own).stderr


@pytest.mark.parametrize("program", ["hyperpodrun", "mpirun", "torchrun"])
def test_a_missing_program_of_launch_lines_ends_the_build(image: Path, program: str) -> None:
    (image / program).unlink()
    done = checked(image, "cpu")
    assert (done.returncode, done.stderr) == (1, f"this image lacks {program}, which launch lines start\n")


@pytest.mark.parametrize(("commit", "code"), [(str(GDRCOPY_COMMIT), 0), ("0" * 40, 1)])
def test_gdrcopy_is_built_from_the_commit_that_was_read_and_no_other(
    image: Path, commit: str, code: int
) -> None:
    log = image.parent / "ran"
    git = f'echo "git $*" >> {log}; case "$*" in *rev-parse*) echo {commit};; esac'
    for name, body in {"git": git, "make": f"echo make >> {log}"}.items():
        (image / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (image / name).chmod(0o755)
    done = run(command("git clone"), image, "cuda")
    ran = log.read_text(encoding="utf-8").splitlines()
    assert done.returncode == code
    assert f"--branch v{GDRCOPY} " in ran[0]
    assert ("make" in ran) is (code == 0)
    assert (commit in done.stderr) is (code == 1)


@pytest.mark.parametrize(("base", "backend"), [("cpu", "cpu"), ("cuda", "cu130")])
def test_torch_is_the_build_for_what_the_base_has(image: Path, base: Base, backend: str) -> None:
    """Fake programs replace the environment's: their arguments are what would be installed."""
    log = image.parent / "ran"
    script = command("--torch-backend").replace("/opt/trainforge", os.fspath(image.parent))
    venv = image.parent / "venv" / "bin"
    maker = f'mkdir -p {venv}; for p in python uv; do printf "%s\\n" "#!/bin/sh" "echo $p \\$* >> {log}" > {venv}/$p; '
    (image / "python3").write_text(f"#!/bin/sh\n{maker}chmod +x {venv}/$p; done\n", encoding="utf-8")
    for name in ("mkdir", "chmod"):
        (image / name).symlink_to(str(shutil.which(name)))
    done = run(script, image, base)
    assert done.returncode == 0, done.stderr
    pip, uv = log.read_text(encoding="utf-8").splitlines()
    told = Image(base).build_arguments
    assert pip.endswith(f"uv=={told['PIN_UV']}")
    assert uv.endswith(f"--torch-backend {backend} torch=={told['PIN_TORCH']}")


NAMED = "[GNUPG:] GOODSIG 10E1EA091BAD2489 AWS EFA {name} <efa@example.com>"
SIGNED = "[GNUPG:] VALIDSIG {signer} 2026-11-24 1795523553 0 4 0 22 10 00 {primary}"
OTHER_KEY = "D624F5D61446ADB4E56F61A310E1EA091BAD2489"


@pytest.mark.parametrize(
    ("name", "signer", "primary", "code"),
    [
        ("", EFA_SIGNING_KEY, EFA_SIGNING_KEY, 0),
        ("", OTHER_KEY, EFA_SIGNING_KEY, 0),
        ("", OTHER_KEY, OTHER_KEY, 1),
        # Whoever makes a key chooses its name.
        (EFA_SIGNING_KEY, OTHER_KEY, OTHER_KEY, 1),
    ],
    ids=["the key", "a subkey of it", "another key", "another key that is named like it"],
)
def test_the_efa_installer_is_signed_by_the_catalogs_key_and_no_other(
    image: Path, name: str, signer: str, primary: str, code: int
) -> None:
    """The lines are gpg 2.4's own, of a key that was made to be named so; what follows the check is left out."""
    status = "\n".join([NAMED.format(name=name), SIGNED.format(signer=signer, primary=primary)])
    (image / "grep").symlink_to(str(shutil.which("grep")))
    for program, body in {
        "curl": ":",
        "gpg": f'case "$*" in *--verify*) cat <<"END"\n{status}\nEND\n;; esac',
    }.items():
        (image / program).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (image / program).chmod(0o755)
    before, installs, _ = command("--verify").partition("tar --extract")
    assert installs
    done = run(before, image, "cuda")
    assert done.returncode == code, done.stderr
    assert (f"is not signed by the catalog's key {EFA_SIGNING_KEY}" in done.stderr) is (code == 1)
