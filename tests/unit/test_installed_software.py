"""Software below made-up roots: the parts of each layout are found, and compared with the lock."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from software.command import main
from software.installed import in_use, installed, is_ofi
from software.inventory import inventory
from software.report import ABSENT, ALSO, EQUAL, NOT_JUDGED, examine

from catalog.versions import STACK
from tests.unit.installed_root import NCCL, PLUGIN, InstalledRoot


@pytest.fixture
def made(tmp_path: Path) -> InstalledRoot:
    return InstalledRoot(tmp_path / "root")


def found(made: InstalledRoot) -> dict[str, str]:
    return in_use(installed(made.root))


def verdicts(made: InstalledRoot) -> dict[str, str]:
    return {row.part: row.verdict for row in examine(made.root).rows if row.verdict not in (ABSENT, ALSO)}


def test_our_image_is_as_the_lock_has_it(made: InstalledRoot) -> None:
    made.efa()
    made.torch()
    made.cuda()
    made.driver()
    made.put("opt/gdrcopy/lib/libgdrapi.so.2.5")
    made.put("opt/gdrcopy/lib/libgdrapi.so.2")
    report = examine(made.root)
    assert (report.exit_code, report.problems) == (0, ())
    assert verdicts(made) == dict.fromkeys(
        ("EFA installer", "libfabric", "aws-ofi-nccl", "NCCL", "CUDA", "torch", "NVIDIA driver", "GDRCopy"),
        EQUAL,
    )


def test_a_node_with_the_efa_installer_and_packages(made: InstalledRoot) -> None:
    """The plugin's folder of older installers, and parts that dpkg alone knows."""
    made.efa(plugin="opt/amazon/ofi-nccl/lib/x86_64-linux-gnu")
    made.put("opt/amazon/efa/lib/pkgconfig/libfabric.pc", "")
    made.packages(
        libfabric1_aws="2.4.0amzn3.0",
        libgdrapi="2.5.2-1",
        nvidia_container_toolkit="1:1.20.0-1",
        libnccl2="2.28.9-1+cuda13.0",
    )
    assert examine(made.root).exit_code == 0
    assert verdicts(made) == dict.fromkeys(
        (
            "EFA installer",
            "libfabric",
            "aws-ofi-nccl",
            "NCCL",
            "GDRCopy",
            "NVIDIA container toolkit",
        ),
        EQUAL,
    )


def test_an_image_of_nvidia_has_parts_of_its_own(made: InstalledRoot) -> None:
    """Its plugin's folder, an NCCL of the distribution's package, a torch of its own."""
    made.put("opt/amazon/aws-ofi-nccl/lib/libnccl-net.so", PLUGIN % b"1.17.2")
    made.packages(libnccl2="2.29.2-1+cuda13.1", libnccl_ofi_ngc_v2="1.17.2-1")
    made.put("usr/lib/x86_64-linux-gnu/libnccl.so.2.29.2")
    made.put("usr/local/lib/python3.12/dist-packages/torch-2.11.0a0+eb65b36.nv26.2.dist-info/METADATA")
    made.cuda("13.1.1")
    assert found(made) == {
        "aws-ofi-nccl": "1.17.2",
        "NCCL": "2.29.2",
        "torch": "2.11.0a0+eb65b36.nv26.2",
        "CUDA": "13.1.1",
    }
    report = examine(made.root)
    assert report.exit_code == 1
    assert {row.part for row in report.rows if row.verdict == "differs"} == {"aws-ofi-nccl", "NCCL", "CUDA"}
    assert [problem.split(":")[0] for problem in report.problems] == ["framework"]


def test_a_build_from_source_is_found_by_what_libraries_say(made: InstalledRoot) -> None:
    made.put("opt/aws-ofi-nccl/install/lib/libnccl-net-ofi.so", PLUGIN % b"1.19.0-aws")
    made.put("opt/nccl/build/lib/libnccl.so", NCCL % b"2.28.9")
    assert found(made) == {"aws-ofi-nccl": "1.19.0", "NCCL": "2.28.9"}
    assert examine(made.root).exit_code == 0


def test_the_loaders_configuration_names_a_folder(made: InstalledRoot) -> None:
    made.put("etc/ld.so.conf.d/100_ofinccl.conf", "/opt/elsewhere/lib\n")
    made.put("opt/elsewhere/lib/libnccl-net.so", PLUGIN % b"1.18.0")
    made.efa()
    assert found(made)["aws-ofi-nccl"] == "1.18.0"
    rows = [row for row in examine(made.root).rows if row.part == "aws-ofi-nccl"]
    assert [(row.version, row.verdict) for row in rows] == [("1.18.0", "differs"), ("1.19.0", ALSO)]


def test_packages_tell_of_a_plugin_without_a_library(made: InstalledRoot) -> None:
    made.packages(libnccl_ofi="1.19.0-1")
    assert found(made) == {"aws-ofi-nccl": "1.19.0-1"}
    made.packages(libnccl_ofi_ngc_v3="1.18.0-1")
    assert found(made) == {"aws-ofi-nccl": "1.18.0-1"}


def test_links_of_a_root_stay_in_it(made: InstalledRoot, tmp_path: Path) -> None:
    """An image's /usr/local/cuda is an absolute link; the host may have another CUDA there."""
    made.put("usr/local/cuda-13.0/version.json", '{"cuda": {"version": "13.0.2"}}')
    made.put("etc/alternatives/there")
    (made.root / "etc/alternatives/cuda").symlink_to("/usr/local/cuda-13.0")
    (made.root / "usr/local/cuda").symlink_to("/etc/alternatives/cuda")
    assert found(made) == {"CUDA": "13.0.2"}
    secret = tmp_path / "lib" / "libnccl.so.2.1.1"
    secret.parent.mkdir()
    secret.touch()
    (made.root / "opt/nccl/build").mkdir(parents=True)
    (made.root / "opt/nccl/build/lib").symlink_to(secret.parent)
    (made.root / "usr/local/lib").symlink_to("../../../lib")
    (made.root / "usr/lib64").symlink_to("/usr/lib64")
    assert found(made) == {"CUDA": "13.0.2"}


def test_neuron_is_found_by_its_packages_and_its_module(made: InstalledRoot) -> None:
    made.packages(
        aws_neuronx_runtime_lib="2.30.51.0-1234567",
        aws_neuronx_collectives="2.30.59.0-1234567",
        aws_neuronx_tools="2.28.23.0",
    )
    made.put("sys/module/neuron/version", "2.26.5.0\n")
    site = "opt/conda/lib/python3.12/site-packages"
    made.put(f"{site}/neuronx_cc-2.23.6484.0+3b612583.dist-info/METADATA")
    made.put(f"{site}/torch_neuronx-2.9.0.2.12.22436+0f1dac25.dist-info/METADATA")
    assert examine(made.root).exit_code == 0
    assert sorted(verdicts(made)) == sorted(
        name for name in STACK if "neuron" in name.lower() and name != "Neuron SDK"
    )
    made.put("sys/module/neuron/version", "2.28.0.0\n")
    report = examine(made.root)
    assert report.exit_code == 1
    assert report.problems[0].startswith("Neuron: no source says that aws-neuronx-dkms 2.28.0.0, ")


def test_an_empty_root_has_nothing(made: InstalledRoot, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(made) == {}
    assert main(["--root", str(made.root)]) == 3
    assert "nothing of the lock is installed here" in capsys.readouterr().out


def test_broken_files_are_no_versions(made: InstalledRoot) -> None:
    made.put("opt/amazon/efa_installed_packages", b"\xff\xfe# nothing\n")
    made.put("opt/amazon/ofi-nccl/lib/libnccl-net.so")
    made.put("usr/local/cuda/version.json", "[]")
    made.put("proc/driver/nvidia/version", "no driver\n")
    made.put("var/lib/dpkg/status", "Package: libnccl2\nStatus: deinstall ok config-files\nVersion: 2.1\n")
    (made.root / "usr/lib64").symlink_to("/nowhere")
    assert found(made) == {}


@pytest.mark.timeout(20)
def test_pipes_and_circles_of_links_are_no_files(made: InstalledRoot, tmp_path: Path) -> None:
    """A pipe has no end, and a circle that is absolute would lead to the host's own file."""
    made.efa()
    installer = made.root / "opt/amazon/efa_installed_packages"
    installer.unlink()
    os.mkfifo(installer)
    plugins = made.root / "opt/amazon/ofi-nccl/lib"
    plugins.mkdir(parents=True, exist_ok=True)
    os.mkfifo(plugins / "libnccl-net-pipe.so")
    host = tmp_path / "status"
    host.write_text("Package: libnccl2\nStatus: install ok installed\nVersion: 2.28.9-1\n", encoding="utf-8")
    # Below the root the first leads to the second and back; out of it, to the host's file.
    circle = made.root / str(host).lstrip("/")
    circle.parent.mkdir(parents=True)
    status = made.root / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True, exist_ok=True)
    status.symlink_to(host)
    circle.symlink_to("/var/lib/dpkg/status")
    (made.root / "usr/local").mkdir(parents=True, exist_ok=True)
    (made.root / "usr/local/cuda").symlink_to("cuda")
    assert "EFA installer" not in found(made)
    assert {item.kind for item in inventory(made.root).items} == {"generic"}


def test_another_networks_plugin_is_not_the_ofi_plugin(made: InstalledRoot) -> None:
    other = made.put("opt/hpcx/libnccl-net.so", b"\x7fELF\0NET/IB\0")
    ours = made.put("opt/amazon/ofi-nccl/lib/libnccl-net.so", PLUGIN % b"1.19.0")
    assert (is_ofi(ours), is_ofi(other), is_ofi(made.root / "absent.so")) == (True, False, False)


def test_an_old_driver_is_a_problem_of_the_image(
    made: InstalledRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    made.cuda()
    made.driver("570.172.08")
    assert main(["--root", str(made.root), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["passed"]
    assert "NVIDIA driver must be 580 or newer" in report["problems"][0]
    assert main(["--root", str(made.root)]) == 1
    text = capsys.readouterr().out
    assert (
        "NVIDIA driver             570.172.08  595.91.07         differs  /proc/driver/nvidia/version\n"
        in text
    )
    assert "problem: CUDA 13.0.2 and NVIDIA driver 570.172.08" in text


def test_a_root_that_is_not_there_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--root", str(tmp_path / "absent")])
    assert ended.value.code == 2
    assert "is not a folder; name the root of a file system" in capsys.readouterr().err


def test_a_driver_that_is_not_loaded_is_read_from_its_package(tmp_path: Path) -> None:
    root = InstalledRoot(tmp_path)
    root.packages(nvidia_open=f"{STACK['NVIDIA driver']}-1ubuntu1")
    [row] = [row for row in examine(tmp_path).rows if row.part == "NVIDIA driver"]
    assert (row.verdict, row.place) == ("equal", "package nvidia-open")
    root.packages(nvidia_open="580.1.2-1ubuntu1")
    assert examine(tmp_path).exit_code == 1


def test_a_required_part_that_is_absent_is_a_problem(tmp_path: Path) -> None:
    InstalledRoot(tmp_path).efa()
    assert examine(tmp_path).exit_code == 0
    report = examine(tmp_path, required=["CUDA", "EFA installer"])
    assert report.problems == ("'CUDA' is required and not installed",)
    assert report.exit_code == 1


def test_parts_of_the_parent_are_not_judged_with_those_that_a_playbook_installed(made: InstalledRoot) -> None:
    """ParallelCluster's image has a CUDA and a GDRCopy of its own, on nodes with Neuron too."""
    made.efa()
    made.cuda("12.8.1")
    made.driver("575.57.08")
    report = examine(made.root, required=["EFA installer", "libfabric"])
    assert (report.exit_code, report.problems) == (0, ())
    [cuda] = [row for row in report.rows if row.part == "CUDA"]
    assert cuda.verdict == NOT_JUDGED
    assert examine(made.root).exit_code == 1
    made.put("opt/amazon/efa_installed_packages", "# EFA installer version: 1.43.2\n")
    assert examine(made.root, required=["EFA installer", "libfabric"]).exit_code == 1
