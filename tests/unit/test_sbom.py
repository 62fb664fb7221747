"""Bills of materials: valid for CycloneDX's strict schema, complete, and the same for the same content."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from software import command
from typer.testing import CliRunner

from catalog.machine_images import MACHINE_IMAGES
from catalog.versions import (
    AWS_CLI,
    AWS_OFI_NCCL,
    CUDA,
    CUDA_BASE,
    DCGM_EXPORTER_PACKAGE,
    EFA_INSTALLER,
    ENROOT,
    GDRCOPY,
    NCCL,
    NCCL_PACKAGE,
    NCCL_TESTS,
    NEURON_DRIVER,
    NODE_EXPORTER,
    NVIDIA_CONTAINER_TOOLKIT,
    NVIDIA_DRIVER,
    NVLSM,
    PROMETHEUS,
    PYXIS,
    SSM_AGENT,
    STACK,
    TORCH,
)
from cli.main import app
from tests.programs import require_module
from tests.unit.installed_root import InstalledRoot
from workloads import registry
from workloads.images.image import BASES

STACK_PARTS = {*STACK, "libfabric", NCCL.name}

IMAGES = [*BASES, *(name for name in registry.names() if registry.workload(name).image is not None)]


def printed(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["versions", "--sbom", *words])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@functools.cache
def validator() -> Any:
    """Return the validator of CycloneDX's own strict schema, which takes a second to make."""
    require_module("cyclonedx", "'make setup-dev' installs cyclonedx-python-lib")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def check(found: dict[str, Any]) -> None:
    """Fail where the schema refuses a bill."""
    error = validator().validate_str(json.dumps(found))
    assert error is None, error


def versions(found: dict[str, Any]) -> dict[str, str]:
    return {component["name"]: component["version"] for component in found["components"]}


def purls(found: dict[str, Any]) -> set[str]:
    return {component["purl"] for component in found["components"]}


def test_every_image_has_a_valid_bill_by_its_pins() -> None:
    for name in IMAGES:
        found = printed("--image", name)
        check(found)
        assert found["metadata"]["component"] == {
            "type": "container",
            "bom-ref": "subject",
            "name": f"trainforge-{name}",
        }
        assert found["components"][0]["type"] == "container"


def test_the_bill_of_a_base_has_what_its_build_installs() -> None:
    found = printed("--image", "cuda")
    assert found["components"][0]["purl"] == (
        f"pkg:docker/nvidia/cuda@{CUDA_BASE.rpartition(':')[2]}?repository_url=nvcr.io"
    )
    assert {
        "torch": str(TORCH),
        "NCCL": str(NCCL),
        "aws-ofi-nccl": "1.19.0",
        "EFA installer": "1.48.0",
    }.items() <= versions(found).items()
    assert {f"pkg:pypi/torch@{TORCH}", "pkg:generic/efa-installer@1.48.0"} <= purls(found)
    [torch] = [one for one in found["components"] if one["name"] == "torch"]
    assert torch["properties"] == [{"name": "trainforge:source", "value": TORCH.source}]
    # The NCCL of NVIDIA's images is their own.
    assert "NCCL" not in versions(printed("--image", "ngc"))


def test_the_bill_of_a_workload_has_its_packages() -> None:
    found = versions(printed("--image", "fsdp"))
    assert {"torch", "numpy", "tokenizers", "datasets"} <= found.keys()
    assert "ray" in versions(printed("--image", "ray-train"))


def test_the_bill_of_a_machine_image_has_what_its_roles_install() -> None:
    for image in MACHINE_IMAGES:
        found = printed("--image", image.name)
        check(found)
        subject = found["metadata"]["component"]
        assert (subject["type"], subject["name"]) == ("operating-system", f"trainforge-{image.name}")
    gpu = printed("--image", "parallelcluster-gpu")
    assert versions(gpu) == {
        pin.name: str(pin)
        for pin in (
            *(EFA_INSTALLER, AWS_OFI_NCCL, NCCL_PACKAGE, NCCL_TESTS, CUDA, NVIDIA_DRIVER, NVLSM, GDRCOPY),
            *(NVIDIA_CONTAINER_TOOLKIT, AWS_CLI, SSM_AGENT, ENROOT, PYXIS, NODE_EXPORTER, PROMETHEUS),
        )
    } | {DCGM_EXPORTER_PACKAGE.name: DCGM_EXPORTER_PACKAGE.partition("=")[2]}
    parents = {one["name"]: one["value"] for one in gpu["metadata"]["component"]["properties"]}
    assert parents["trainforge:parent:ubuntu"].startswith("aws-parallelcluster-")
    assert versions(printed("--image", "hyperpod")).keys() == {NODE_EXPORTER.name, PROMETHEUS.name}
    neuron = versions(printed("--image", "parallelcluster-neuron"))
    assert neuron.items() >= {(NEURON_DRIVER.name, str(NEURON_DRIVER))}
    assert NVIDIA_DRIVER.name not in neuron


def test_what_a_role_leaves_to_the_parent_is_said() -> None:
    conditional = {
        one["name"]
        for one in printed("--image", "parallelcluster-gpu")["components"]
        if any(item["name"] == "trainforge:condition" for item in one["properties"])
    }
    # The CLI of the lock is installed beside an older one.
    assert conditional == {"SSM agent", "enroot", "pyxis"}


def test_a_package_that_another_python_gets_has_its_condition() -> None:
    listed = [one for one in printed("--image", "fsdp")["components"] if one["name"] == "numpy"]
    told = [
        item["value"] for one in listed for item in one["properties"] if item["name"].endswith("condition")
    ]
    assert told == ['only where python_version < "3.11"', 'only where python_version >= "3.11"']


def test_the_parts_that_an_image_s_test_requires_are_those_that_its_playbook_installs() -> None:
    brought = {EFA_INSTALLER.name: "libfabric", NCCL_PACKAGE.name: NCCL.name}
    for image in MACHINE_IMAGES:
        installed = set(versions(printed("--image", image.name)))
        parts = {brought.get(name, name) for name in installed} | installed
        assert set(image.installs) == parts & STACK_PARTS, image.name


def made(folder: Path) -> InstalledRoot:
    root = InstalledRoot(folder)
    root.efa()
    root.torch()
    root.driver()
    root.packages(libc6="2.39-0ubuntu8.4", libnccl2="1:2.28.9-1+cuda13.0")
    root.put("etc/os-release", 'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="24.04"\n')
    return root


def test_the_bill_of_a_file_system_has_all_its_packages(tmp_path: Path) -> None:
    root = made(tmp_path / "root")
    found = printed("--root", str(root.root))
    check(found)
    assert purls(found) == {
        "pkg:generic/ubuntu@24.04",
        "pkg:deb/ubuntu/libc6@2.39-0ubuntu8.4?distro=ubuntu-24.04",
        "pkg:deb/ubuntu/libnccl2@1%3A2.28.9-1%2Bcuda13.0?distro=ubuntu-24.04",
        "pkg:pypi/torch@2.11.0%2Bcu130",
        "pkg:pypi/nvidia-nccl-cu13@2.28.9",
        "pkg:pypi/torchvision@0.26.0",
        "pkg:generic/efa-installer@1.48.0",
        "pkg:generic/libfabric@2.4.0amzn3.0",
        "pkg:generic/aws-ofi-nccl@1.19.0",
        "pkg:generic/nvidia-driver@595.91.07",
    }
    assert found["metadata"]["component"]["name"] == "ubuntu-24.04"
    assert found["metadata"]["component"]["type"] == "operating-system"
    assert found["dependencies"] == [
        {"ref": "subject", "dependsOn": [one["bom-ref"] for one in found["components"]]}
    ]


def test_a_node_prints_its_own_bill_without_trainforge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the program that machine images have; only the subject and the tool's version differ from our command's."""
    root = made(tmp_path / "root")
    assert command.main(["--root", str(root.root), "--sbom", "ec2"]) == 0
    found = json.loads(capsys.readouterr().out)
    check(found)
    assert found["metadata"]["component"] == {"type": "operating-system", "bom-ref": "subject", "name": "ec2"}
    assert found["components"] == printed("--root", str(root.root))["components"]
    assert [tool.keys() for tool in found["metadata"]["tools"]["components"]] == [{"type", "name"}]


def test_the_same_content_has_the_same_bill(tmp_path: Path) -> None:
    root = made(tmp_path / "root")
    first, second = printed("--root", str(root.root)), printed("--root", str(root.root))
    assert first == second
    root.packages(libc6="2.39-0ubuntu8.5")
    assert printed("--root", str(root.root))["serialNumber"] != first["serialNumber"]
    assert printed("--root", str(made(tmp_path / "elsewhere").root)) == first


def test_a_package_of_two_architectures_is_there_twice(tmp_path: Path) -> None:
    root = InstalledRoot(tmp_path / "root")
    form = "Package: libc6\nStatus: install ok installed\nArchitecture: {}\nVersion: 2.39\n"
    root.put("var/lib/dpkg/status", "\n".join(map(form.format, ("amd64", "i386"))))
    assert purls(printed("--root", str(root.root))) == {
        "pkg:deb/libc6@2.39?arch=amd64",
        "pkg:deb/libc6@2.39?arch=i386",
    }


def test_an_empty_root_has_a_valid_bill(tmp_path: Path) -> None:
    found = printed("--root", str(tmp_path))
    check(found)
    assert found["components"] == []


@pytest.mark.parametrize("field", ["purl", "version"])
def test_the_schema_refuses_a_broken_bill(field: str) -> None:
    found = printed("--image", "cpu")
    found["components"][0][field] = 1
    with pytest.raises(AssertionError):
        check(found)
