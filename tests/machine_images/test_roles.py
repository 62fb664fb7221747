"""Every role of machine images, twice in a Debian root, from fake vendors: the second run changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from catalog.versions import (
    AWS_OFI_NCCL,
    DCGM_EXPORTER_PACKAGE,
    EFA_INSTALLER,
    GDRCOPY,
    NODE_EXPORTER,
    NVIDIA_DRIVER,
    NVLSM,
    PROMETHEUS,
    UBUNTU,
)
from machine_images import lock
from tests.machine_images.debian import Run, play
from tests.machine_images.vendors import Vendors
from tests.programs import ROOT

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]
OTHER_KEY = "F" * 40
REFUSED = Path(__file__).parent / "refused_roles.yml"


@pytest.fixture(scope="module")
def refusals(runs: tuple[Path, Run, Run], variables: dict[str, Any], vendors: Vendors) -> Mapping[str, str]:
    """The messages of roles that must fail, by role, in one run: each has a lock of its own."""
    root = runs[0]
    downloads, versions = vendors.lock["downloads"], vendors.lock["versions"]
    aws_cli = {**downloads["aws_cli"], "version": "0.0.1", "sha256": "0" * 64}
    efa = {**downloads["efa_installer"], "key": OTHER_KEY}
    lustre = {**vendors.lock["repositories"]["lustre"], "key": OTHER_KEY}
    locks = {
        "aws_cli": {**vendors.lock, "downloads": {**downloads, "aws_cli": aws_cli}},
        "enroot_pyxis": lock.lock(),
        "efa": {"versions": {**versions, "efa_installer": "0.0.1"}, "downloads": {"efa_installer": efa}},
        "aws_ofi_nccl": {**vendors.lock, "versions": {**versions, "aws_ofi_nccl": "0.0.1"}},
        "lustre_client": {**vendors.lock, "repositories": {"lustre": lustre}},
        "nvidia_nccl": {**vendors.lock, "ubuntu": "22.04"},
    }
    enroot = root / "usr" / "bin" / "enroot"
    enroot.rename(enroot.with_name("enroot.away"))
    try:
        others = {name: value for name, value in variables.items() if name != "lock"}
        run = play(root, REFUSED, {**others, "locks": locks})
    finally:
        enroot.with_name("enroot.away").rename(enroot)
    assert run.code == 0, run.output
    output = " ".join(run.output.split())
    return {found[1]: found[2] for found in re.finditer(r'"refused (\w+): (.*?) :refused"', output)}


def read(root: Path, path: str) -> str:
    return (root / path.lstrip("/")).read_text(encoding="utf-8")


def installed(root: Path, package: str) -> str:
    """Return the version of a package in the root."""
    command = ["chroot", str(root), "dpkg-query", "--show", "--showformat=${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_role_runs_and_a_second_run_changes_nothing(runs: tuple[Path, Run, Run]) -> None:
    _, first, second = runs
    assert first.code == 0, first.output[-8000:]
    assert first.changed > 50
    assert second.code == 0, second.output[-8000:]
    changed = [line for line in second.output.splitlines() if "changed:" in line]
    assert (second.changed, changed) == (0, []), second.output


def test_the_kernel_settings_and_limits_are_written(runs: tuple[Path, Run, Run]) -> None:
    settings = read(runs[0], "/etc/sysctl.d/90-trainforge.conf")
    assert "net.ipv4.tcp_congestion_control = bbr\n" in settings
    assert "kernel.yama.ptrace_scope = 0\n" in settings
    assert "* hard memlock unlimited\n" in read(runs[0], "/etc/security/limits.d/90-trainforge.conf")


def test_docker_keeps_what_others_set(runs: tuple[Path, Run, Run]) -> None:
    """The toolkit's program adds its runtime, and the second run of the role docker keeps it."""
    settings = json.loads(read(runs[0], "/etc/docker/daemon.json"))
    assert settings["default-ulimits"]["memlock"]["Hard"] == -1
    assert "nvidia" in settings["runtimes"]


def test_no_secret_of_the_build_stays_on_the_image(runs: tuple[Path, Run, Run]) -> None:
    root = runs[0]
    assert installed(root, "munge")
    assert not (root / "etc" / "munge" / "munge.key").exists()
    assert not (root / "var" / "cache" / "trainforge").exists()
    assert read(root, "/etc/machine-id") == ""
    assert not (root / "var" / "lib" / "ecs" / "data" / "agent.db").exists()
    started = root / "etc" / "systemd" / "system" / "multi-user.target.wants"
    assert not {"munge.service", "slurmd.service"} & {path.name for path in started.iterdir()}


def test_the_driver_and_the_fabric_manager_are_of_the_lock(runs: tuple[Path, Run, Run]) -> None:
    """The repository has newer ones, which the pin leaves out."""
    versions = {installed(runs[0], name) for name in ("nvidia-open", "nvidia-fabricmanager")}
    assert versions == {f"{NVIDIA_DRIVER}-1ubuntu1"}
    assert installed(runs[0], "nvlsm") == f"{NVLSM}-1"
    exporter, _, release = DCGM_EXPORTER_PACKAGE.partition("=")
    assert installed(runs[0], exporter) == release
    started = runs[0] / "etc" / "systemd" / "system" / "multi-user.target.wants"
    names = {path.name for path in started.iterdir()}
    assert {"nvidia-fabricmanager.service", "trainforge-nvidia-persistence.service"} <= names


def test_a_repository_of_the_parent_is_ours_then(runs: tuple[Path, Run, Run]) -> None:
    """Apt reads no source at all where one repository has two keys."""
    names = {path.name for path in (runs[0] / "etc" / "apt" / "sources.list.d").iterdir()}
    assert "parent.list" not in names
    assert "trainforge-lustre.sources" in names


def test_programs_from_archives_and_sources_are_there(runs: tuple[Path, Run, Run]) -> None:
    root = runs[0]
    assert read(root, "/opt/amazon/efa_installed_packages") == f"# EFA installer version: {EFA_INSTALLER}\n"
    assert read(root, "/opt/amazon/efa_options") == "-y\n"
    assert read(root, "/opt/gdrcopy/lib/libgdrapi.so") == "/usr/local/cuda\n"
    assert read(root, "/opt/nccl-tests/build/all_reduce_perf") == "1 /opt/amazon/openmpi /usr/local/cuda\n"
    # Compiled against Debian's own Slurm.
    assert (root / "usr" / "local" / "lib" / "slurm" / "spank_pyxis.so").stat().st_size > 1000


def test_dkms_builds_the_driver_of_gdrcopy_and_a_service_loads_it(runs: tuple[Path, Run, Run]) -> None:
    root = runs[0]
    assert read(root, f"/var/lib/dkms/gdrdrv/{GDRCOPY}/installed.ko") == "fake-kernel y\n"
    settings = read(root, f"/usr/src/gdrdrv-{GDRCOPY}/dkms.conf")
    assert (settings.count("@"), settings.count(GDRCOPY)) == (0, 2)
    started = root / "etc" / "systemd" / "system" / "multi-user.target.wants"
    assert (started / "trainforge-gdrdrv.service").is_symlink()
    program = root / "opt" / "gdrcopy" / "bin" / "trainforge-gdrdrv.sh"
    assert program.stat().st_mode & 0o777 == 0o755
    # Neither device files nor modules are there, so that it must end before it looks for them.
    done = subprocess.run(
        ["chroot", str(root), "/opt/gdrcopy/bin/trainforge-gdrdrv.sh"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "no NVIDIA device is on this machine\n")


def test_a_plugin_of_another_version_is_refused(refusals: Mapping[str, str]) -> None:
    said = refusals["aws_ofi_nccl"]
    assert f"is 'aws-ofi-nccl {AWS_OFI_NCCL}', and catalog/versions has 0.0.1" in said


def test_the_bill_of_materials_has_what_the_roles_installed(runs: tuple[Path, Run, Run]) -> None:
    bill = json.loads(read(runs[0], "/usr/share/trainforge/sbom.json"))
    assert bill["metadata"]["component"]["name"] == "every-role"
    found = {component["name"]: component["version"] for component in bill["components"]}
    assert found["EFA installer"] == EFA_INSTALLER
    for package in ("munge", "amazon-ssm-agent"):
        assert found[package] == installed(runs[0], package)


def test_our_own_programs_are_where_the_set_up_of_nodes_looks(runs: tuple[Path, Run, Run]) -> None:
    folder = runs[0] / "opt" / "trainforge"
    for name in ("efa", "slurm", "runs"):
        unit = f"trainforge-{name}-exporter.service"
        source = ROOT / "programs" / "exporters" / "units" / unit
        assert (folder / "exporters" / "units" / unit).read_bytes() == source.read_bytes()
    command = ["chroot", str(runs[0]), "python3", "/opt/trainforge/exporters/exporters.pyz", "efa", "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "efa_devices 0.0" in done.stdout, done.stderr
    sources = {path.name for path in (ROOT / "workloads" / "runtime" / "health").glob("*.py")}
    assert {path.name for path in (folder / "health" / "health").glob("*.py")} == sources
    programs = {path.name for path in (folder / "bin").iterdir()}
    assert programs == {f"node_exporter-{NODE_EXPORTER}", f"prometheus-{PROMETHEUS}"}


def test_a_file_with_another_digest_is_refused(
    runs: tuple[Path, Run, Run], refusals: Mapping[str, str]
) -> None:
    assert "checksum" in refusals["aws_cli"]
    assert not (runs[0] / "usr" / "local" / "aws-cli" / "v2" / "0.0.1").exists()


def test_a_download_that_nothing_verifies_is_refused(refusals: Mapping[str, str]) -> None:
    """With the real lock, in which enroot has no digest yet: the message says what to do, and nothing is asked."""
    assert "download 'enroot' 3.5.0 has no recorded SHA-256" in refusals["enroot_pyxis"]
    assert "make record-downloads" in refusals["enroot_pyxis"]


def test_a_repository_of_another_ubuntu_is_refused(refusals: Mapping[str, str]) -> None:
    said = refusals["nvidia_nccl"]
    assert "the machine has Ubuntu 22.04" in said
    assert f"for Ubuntu {UBUNTU} alone" in said


def test_a_signature_by_another_key_is_refused(
    runs: tuple[Path, Run, Run], refusals: Mapping[str, str]
) -> None:
    assert f"is not signed by the key {OTHER_KEY} of the lock" in refusals["efa"]
    assert not list((runs[0] / "var" / "cache" / "trainforge").glob("*.tar.gz"))


def test_a_repository_with_another_key_is_refused(
    runs: tuple[Path, Run, Run], refusals: Mapping[str, str], vendors: Vendors
) -> None:
    assert f"is not the lock's alone ({OTHER_KEY}), but {vendors.fingerprint}" in refusals["lustre_client"]
    assert not (runs[0] / "etc" / "trainforge" / "keys" / "lustre.asc").exists()
