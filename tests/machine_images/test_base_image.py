"""The base image of containers: those steps of its Dockerfile that need no registry, in the Debian root."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dockerfiles import BASE, instructions
from tests.machine_images.debian import Run
from tests.machine_images.vendors import Package, Vendors
from workloads.images.image import NONE, Image

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]
STEPS = [line.removeprefix("RUN ") for line in instructions(BASE) if line.startswith("RUN ")]
# What pip and uv install comes from a registry: torch, hyperpodrun and py-spy (docs/machine-images.md lists them).
PACKAGES, GDRCOPY, EFA, COMPARISON = (step for step in STEPS if "pip install" not in step)
OTHER_KEY = "F" * 40
_EFA_SITE = "https://efa-installer.amazonaws.com"
_TORCH = """\
class version: cuda = "{cuda}"
class cuda:
    class nccl:
        version = staticmethod(lambda: ({nccl}))
"""


@dataclass(frozen=True)
class Container:
    """The root, in which steps of the Dockerfile run with the arguments of a base."""

    root: Path
    vendors: Vendors

    def run(self, step: str, base: Image, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a step in the folder that the Dockerfile names."""
        source = subprocess.run(
            ["git", "-C", str(self.vendors.site / "gdrcopy.git"), "rev-parse", "HEAD"],
            check=True,
            capture_output=True,
            text=True,
        )
        fake = {"PIN_EFA_KEY": self.vendors.fingerprint, "PIN_GDRCOPY_COMMIT": source.stdout.strip()}
        given = base.build_arguments
        own = "/opt/trainforge/venv/bin:/opt/amazon/openmpi/bin:/opt/amazon/efa/bin"
        return subprocess.run(
            ["chroot", str(self.root), "/bin/bash", "-euo", "pipefail", "-c", f"cd /opt/build\n{step}"],
            env={
                **given,
                **{name: value for name, value in fake.items() if given[name] != NONE},
                **changed,
                "PATH": f"{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "PYTHONPATH": "/opt/fake",
                # The sources of GDRCopy, which git takes from a folder in the root.
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "url.file:///opt/fake/.insteadOf",
                "GIT_CONFIG_VALUE_0": "https://github.com/NVIDIA/",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, *packages: Package) -> None:
        """Install fake packages."""
        for package in packages:
            file = self.root / "opt" / "fake" / "package.deb"
            file.write_bytes(self.vendors.deb(package))
            command = ["chroot", str(self.root), "dpkg", "--install", "/opt/fake/package.deb"]
            subprocess.run(command, check=True, capture_output=True)

    def installed(self) -> set[str]:
        """Return the names of the packages that are installed."""
        command = [
            "chroot",
            str(self.root),
            "dpkg-query",
            "--show",
            "--showformat=${Package} ${db:Status-Status}\n",
        ]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}

    def write(self, path: str, text: str) -> None:
        """Write a program."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)


@pytest.fixture(scope="module")
def container(runs: tuple[Path, Run, Run], vendors: Vendors) -> Iterator[Container]:
    """The root with an empty /opt; the one with what roles put there is back in its place at the end."""
    root = runs[0]
    (root / "opt").rename(root / "opt.roles")
    (root / "opt" / "build").mkdir(parents=True)
    made = Container(root, vendors)
    version = Image("cuda").build_arguments["PIN_GDRCOPY"]
    bare = vendors.site / "gdrcopy.git"
    subprocess.run(["git", "-C", str(bare), "tag", "--force", f"v{version}"], check=True, capture_output=True)
    shutil.copytree(bare, root / "opt" / "fake" / "gdrcopy.git")
    shutil.copyfile(vendors.site / "key.asc", vendors.site / "aws-efa-installer.key")
    # It asks the fake vendor where the step names the real one.
    made.write(
        "/usr/local/bin/curl",
        f'#!/bin/bash\nexec /usr/bin/curl "${{@/#{_EFA_SITE.replace("/", chr(92) + "/")}/{vendors.url}}}"\n',
    )
    yield made
    (root / "usr" / "local" / "bin" / "curl").unlink()
    shutil.rmtree(root / "opt")
    (root / "opt.roles").rename(root / "opt")


def test_packages_of_a_gpu_base_take_the_place_of_its_own(container: Container) -> None:
    ours = ("libibverbs1", "ibverbs-utils", "efa-profile", "libnccl-ofi-ngc-v2")
    container.install(*(Package(name, "0.1", {}) for name in ours))
    container.write("/opt/hpcx/ompi/bin/mpirun", "")
    done = container.run(PACKAGES, Image("ngc"))
    assert done.returncode == 0, done.stdout + done.stderr
    installed = container.installed()
    assert installed.isdisjoint(ours)
    assert {"build-essential", "ca-certificates", "curl", "git", "gnupg", "pciutils"} <= installed
    assert (container.root / "opt" / "hpcx").exists()
    assert not (container.root / "opt" / "hpcx" / "ompi").exists()
    done = container.run(PACKAGES, Image("cuda"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"python3", "python3-venv"} <= container.installed()
    assert not (container.root / "opt" / "hpcx").exists()
    assert not (container.root / "var" / "lib" / "apt" / "lists").exists() or not list(
        (container.root / "var" / "lib" / "apt" / "lists").iterdir()
    )


@pytest.mark.parametrize(
    "base", [Image("neuron"), Image(reference="registry.example/framework:25.09")], ids=str
)
def test_an_image_that_keeps_its_own_parts_gets_no_packages(container: Container, base: Image) -> None:
    for step in (PACKAGES, GDRCOPY, EFA):
        done = container.run(step, base)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_gdrcopy_is_built_at_its_commit_alone(container: Container) -> None:
    done = container.run(GDRCOPY, Image("cuda"), PIN_GDRCOPY_COMMIT="0" * 40)
    assert done.returncode == 1
    assert f"the catalog has {'0' * 40}" in done.stderr
    assert not (container.root / "opt" / "gdrcopy").exists()
    shutil.rmtree(container.root / "opt" / "build")
    (container.root / "opt" / "build").mkdir()
    done = container.run(GDRCOPY, Image("cuda"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (container.root / "opt" / "gdrcopy" / "lib" / "libgdrapi.so").exists()
    (container.root / "opt" / "build").mkdir()


def test_the_installer_of_efa_runs_if_the_catalogs_key_signed_it(container: Container) -> None:
    done = container.run(EFA, Image("cuda"), PIN_EFA_KEY=OTHER_KEY)
    assert done.returncode == 1
    assert f"is not signed by the catalog's key {OTHER_KEY}" in done.stderr
    options = container.root / "opt" / "amazon" / "efa_options"
    assert not options.exists()
    given = {"cpu": "", "cuda": " -g --disable-build-ngc", "ngc": " -g"}
    for base, words in given.items():
        done = container.run(EFA, Image(base))  # type: ignore[arg-type]
        assert done.returncode == 0, done.stdout + done.stderr
        assert options.read_text() == f"-y --skip-kmod --skip-limit-conf --no-verify{words}\n"
    assert list((container.root / "opt" / "build").iterdir()) == []
    assert not (container.root / "root" / ".gnupg").exists()


def test_an_image_that_differs_from_the_catalog_is_refused(container: Container) -> None:
    pins: Mapping[str, str] = Image("cuda").build_arguments
    cuda, nccl = pins["PIN_CUDA"].rpartition(".")[0], ", ".join(pins["PIN_NCCL"].split("."))
    container.write("/opt/fake/torch.py", _TORCH.format(cuda=cuda, nccl=nccl))
    fi_info = f"#!/bin/sh\necho 'fi_info: 1'\necho 'libfabric: {pins['PIN_LIBFABRIC']}amzn1.0'\n"
    container.write("/opt/amazon/efa/bin/fi_info", fi_info)
    for program in ("torchrun", "hyperpodrun", "mpirun"):
        container.write(f"/opt/trainforge/venv/bin/{program}", "#!/bin/sh\n")
    container.install(Package("libnccl-ofi", f"{pins['PIN_AWS_OFI_NCCL']}-1", {}))
    done = container.run(COMPARISON, Image("cuda"))
    assert done.returncode == 0, done.stdout + done.stderr
    for name, said in {
        "PIN_LIBFABRIC": "libfabric of this image is",
        "PIN_AWS_OFI_NCCL": "aws-ofi-nccl of this image is",
        "PIN_CUDA": "CUDA of torch of this image is",
        "PIN_NCCL": "NCCL of this image is",
    }.items():
        done = container.run(COMPARISON, Image("cuda"), **{name: "99.9.9"})
        assert done.returncode == 1, name
        assert re.search(rf"{said} '\d[\d.]*', and the catalog has '99\.9", done.stderr), done.stderr
    done = container.run(COMPARISON, Image("cuda"), PROGRAMS="bash mpiexec.none")
    assert (done.returncode, done.stderr) == (
        1,
        "this image lacks mpiexec.none, which launch lines start\n",
    )
