"""The lock: images take versions that work together, nothing floats, no version is written elsewhere."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import get_args

import pytest
from software.compatibility import IMAGE, differences, equal, numbers, problems

from catalog.efa import MIN_VERSIONS
from catalog.eks import KUBERNETES_VERSIONS
from catalog.versions import BOUNDS, COMBINATIONS, PINS, STACK, UNKNOWN, Pin, version
from tests.programs import ROOT
from tests.unit.tracked_files import tracked
from tests.unit.version_forms import ALLOWED, RECORDED, RENDERED, floating, literals
from workloads import registry, software_lock
from workloads.images.image import NONE, Base, Image

ARGUMENTS = {
    "EFA_INSTALLER": "EFA installer",
    "LIBFABRIC": "libfabric",
    "AWS_OFI_NCCL": "aws-ofi-nccl",
    "NCCL": "NCCL",
    "CUDA": "CUDA",
    "TORCH": "torch",
    "GDRCOPY": "GDRCopy",
}
"""Arguments of an image's build by the parts of the stack."""

PARTS = (
    *("workloads", "programs", "constructs", "stacks", "config", "observability", "settings", "cli"),
    "machine_images",
)


def stack(image: Image) -> dict[str, str]:
    """Return the parts of the stack that an image's build installs or requires."""
    given = image.build_arguments
    return {part: given[f"PIN_{name}"] for name, part in ARGUMENTS.items() if given[f"PIN_{name}"] != NONE}


IMAGES = {base: Image(base) for base in get_args(Base)} | {
    name: image for name in registry.names() if (image := registry.workload(name).image) is not None
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_takes_versions_that_work_together(name: str) -> None:
    found = stack(IMAGES[name])
    assert list(problems(found, frozenset((IMAGE,)))) == []
    assert list(differences(found)) == []


def test_the_pinned_stack_is_a_combination_of_the_table() -> None:
    assert list(problems(STACK)) == []
    assert list(differences(STACK)) == []
    # The oldest that families of instances need, too.
    for family, least in MIN_VERSIONS.items():
        assert all(version(STACK[name]) >= version(text) for name, text in least.items()), family


def test_a_combination_outside_the_table_is_refused() -> None:
    [problem] = problems({**STACK, "libfabric": "2.6.0amzn1.0"})
    assert problem.startswith(
        "EFA layer: no source says that EFA installer 1.48.0, libfabric 2.6.0amzn1.0, aws-ofi-nccl 1.19.0 work "
        "together; the lock has EFA installer 1.51.0 with libfabric 2.7.0amzn2.0 with aws-ofi-nccl 1.22.0; "
    )
    newer = {"EFA installer": "1.49.0", "libfabric": "2.4.0amzn5.0", "aws-ofi-nccl": "1.20.0"}
    assert list(problems({**STACK, **newer})) == []
    assert list(differences({**STACK, **newer})) == ["EFA installer", "aws-ofi-nccl"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"NVIDIA driver": "575.57.08"}, "NVIDIA driver must be 580 or newer (NVIDIA, 'CUDA Compatibility"),
        ({"NCCL": "2.16.5"}, "NCCL must be 2.17.1 or newer (aws/aws-ofi-nccl, release notes"),
        ({"NCCL": "2.31.2"}, "NCCL is newer than 2.30, the newest that was tried (aws/aws-ofi-nccl"),
        ({"libfabric": "1.18.0"}, "libfabric must be 1.22.0 or newer (aws/aws-ofi-nccl, release notes"),
    ],
)
def test_a_broken_bound_is_told_with_its_source(changed: dict[str, str], told: str) -> None:
    found = [problem for problem in problems({**STACK, **changed}) if "no source says" not in problem]
    assert len(found) == 1
    assert told in found[0]


def test_a_driver_of_another_image_counts_for_its_cuda_alone() -> None:
    """AWS's machine images have drivers of their own: a container runs on each that its CUDA works with."""
    other = {**STACK, "NVIDIA driver": "595.112.07"}
    assert list(problems(other, frozenset((IMAGE,)))) == []
    assert list(differences(other, frozenset((IMAGE,)))) == []
    assert list(differences(other)) == ["NVIDIA driver"]
    old = {**other, "CUDA": "12.8.1", "NVIDIA driver": "535.129.03"}
    assert not any("NVIDIA driver" in problem for problem in problems(old, frozenset((IMAGE,))))


def test_the_pinned_plugin_has_bounds() -> None:
    """Without them any NCCL would pass beside a new plugin: its release notes have them."""
    series = STACK["aws-ofi-nccl"].rpartition(".")[0]
    bound = {one.other for one in BOUNDS if one.part == "aws-ofi-nccl" and one.series == series}
    assert bound == {"NCCL", "libfabric"}


def test_every_row_and_bound_names_parts_and_a_source() -> None:
    for row in COMBINATIONS:
        assert len(row.versions) > 1
        assert all(map(version, row.versions.values())), row
        assert len(row.source) > 20, row
    for bound in BOUNDS:
        assert {bound.part, bound.other} <= STACK.keys(), bound
        assert bound.least
        assert len(bound.source) > 20, bound


def test_numbers_compare_as_the_catalogs() -> None:
    for text in ("1.18.0", "1.18", "v2.30.4-1", "1.7.4-aws", "2.4.0amzn1.0", "2.11.0+cu130", "595.91.07"):
        assert numbers(text) == version(text)
    assert numbers("unknown") == ()
    assert equal("CUDA", "13.0", "13.0.2")
    assert not equal("torch", "2.11", "2.11.1")


def test_the_file_for_nodes_and_images_is_that_of_the_catalog() -> None:
    assert software_lock.PATH.read_text(encoding="utf-8") == software_lock.text(), "run 'make manifests'"


def test_no_version_floats_and_none_is_written_outside_the_catalog() -> None:
    """test_layout.py looks at numbers in Python; requirements of workloads are compared with pins, and listed below."""
    files = [path.relative_to(ROOT) for path in tracked(*PARTS) if path.suffix not in {".svg", ".png"}]
    assert len(files) > 500
    found: list[str] = []
    for path in files:
        text = (ROOT / path).read_text(encoding="utf-8")
        found += [*floating(path, text), *literals(path, text)]
    assert found == []
    assert all((ROOT / name).exists() for name in (*RENDERED, *RECORDED))


def test_lines_that_are_allowed_exist_and_agree_with_the_catalog() -> None:
    for name, line in ALLOWED:
        assert line in (ROOT / name).read_text(encoding="utf-8"), name
    chart = (ROOT / "constructs/trainforge/eks/objects/chart/Chart.yaml").read_text(encoding="utf-8")
    assert f'kubeVersion: ">={KUBERNETES_VERSIONS[0]}.0-0"' in chart


def test_every_requirement_of_a_workload_is_of_one_version() -> None:
    for path in tracked("workloads"):
        if path.name in ("requirements.txt", "environment.txt"):
            lines = path.read_text(encoding="utf-8").splitlines()
            open_ = [
                line for line in lines if line and line[0] != "#" and not re.search(r"==\d[^,*]*$", line)
            ]
            assert open_ == [], path


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("workloads/a/Dockerfile", "FROM nvcr.io/nvidia/pytorch:latest"),
        ("workloads/a/Dockerfile", "FROM busybox AS tools"),
        ("workloads/a/Dockerfile", "RUN pip install git+https://github.com/pytorch/torchtitan.git@main"),
        ("workloads/a/Dockerfile", "RUN git clone --branch main https://github.com/NVIDIA/nccl-tests.git"),
        ("workloads/a/Dockerfile", "RUN git clone --depth 1 https://github.com/NVIDIA/nccl-tests.git"),
        ("workloads/a/Dockerfile", "RUN git -C /opt/a checkout origin/main"),
        ("workloads/a/Dockerfile", "ADD https://example.com/agent/latest/agent.tar.gz /opt/"),
        ("programs/a.sh", "curl https://raw.githubusercontent.com/a/b/master/install.sh"),
        ("programs/a.sh", "curl https://github.com/a/b/releases/latest/download/c"),
        ("programs/a.sh", "helm install a oci://example.com/a"),
        ("machine_images/roles/a/tasks/main.yml", "    state: latest"),
        ("machine_images/roles/a/tasks/main.yml", "    version: HEAD"),
        ("machine_images/a.yml", "    version: main"),
        ("constructs/trainforge/eks/chart/values.yaml", "  tag: latest"),
        ("constructs/trainforge/eks/chart/values.yaml", "image: busybox"),
        ("workloads/a/manifests/trainjob.reference.yaml", "      - image: docker.io/library/busybox"),
        ("workloads/a/manifests/trainjob.reference.yaml", "          image: example.com/a:latest"),
        ("workloads/a/manifests/batch.reference.json", '  "image": "nvcr.io/nvidia/pytorch",'),
        ("stacks/a.py", 'IMAGE = "nvcr.io/nvidia/pytorch:latest"'),
        ("stacks/a.py", '    options = {"version": "latest"}'),
        ("workloads/a/Dockerfile", "RUN curl -O https://example.com/aws-efa-installer-latest.tar.gz"),
        ("workloads/a/Dockerfile", "RUN pip install git+https://github.com/NVIDIA/apex"),
        ("workloads/a/Dockerfile", "RUN pip install git+https://github.com/NVIDIA/apex@feature-x"),
        ("workloads/a/Dockerfile", "RUN git clone --branch devel https://github.com/NVIDIA/nccl-tests.git"),
        ("workloads/a/Dockerfile", "RUN git clone -b devel https://github.com/NVIDIA/nccl-tests.git"),
        ("workloads/a/Dockerfile", "FROM example.com/a:main"),
        ("workloads/a/Dockerfile", "RUN pip install --no-cache-dir torch"),
        ("programs/a.sh", "docker pull example.com/a"),
        ("machine_images/roles/a/tasks/main.yml", "    version: devel"),
        ("workloads/a/manifests/trainjob.reference.yaml", "          image: example.com/a:master"),
    ],
)
def test_a_version_that_floats_is_seen_in_each_kind_of_file(path: str, line: str) -> None:
    assert floating(PurePath(path), f"# a comment\n{line}\n") == [f"{path}:2: {line.strip()}"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("workloads/a/Dockerfile", "FROM ubuntu:24.04"),
        ("workloads/a/Dockerfile", "FROM ubuntu:24"),
        ("workloads/a/Dockerfile", "ARG EFA_INSTALLER_VERSION=1.48"),
        ("workloads/a/Dockerfile", "RUN pip install torch==2"),
        ("workloads/a/Dockerfile", "RUN pip install 'torch>=2.9' ray[default]~=2.60"),
        ("workloads/a/Dockerfile", "RUN apt-get install --yes libnccl2=2.28"),
        ("workloads/a/Dockerfile", "COPY --from=example.com/a:2 /a /a"),
        ("programs/a.sh", "curl https://example.com/agent/v1.9/agent.tar.gz"),
        ("programs/units/a.service", "ExecStart=docker run example.com/a:1"),
        ("machine_images/roles/a/tasks/main.yml", "    version: '1.9'"),
        ("machine_images/roles/a/tasks/main.yml", "    name: docker-ce=5:27.1"),
        ("machine_images/roles/a/templates/a.j2", "cuda 13.0.2"),
        ("machine_images/a.yml", "    a_release: v580.95"),
        ("constructs/trainforge/eks/chart/values.yaml", "  tag: v1.9"),
        ("constructs/trainforge/eks/chart/values.yaml", "  image: busybox:1"),
        ("constructs/trainforge/eks/chart/Chart.yaml", 'kubeVersion: ">=1.30"'),
        ("workloads/a/conf/a.yaml", "framework_version: 2.1"),
        ("config/a.yaml", "  version: 3.16.1"),
        ("stacks/a.py", 'IMAGE = "nvcr.io/nvidia/pytorch:25.09-py3"'),
        ("workloads/a/workload.py", f'Image(reference="example.com/a@sha256:{"0" * 64}")'),
        ("programs/a.sh", "curl https://example.com/aws-efa-installer-1.48.tar.gz"),
        ("machine_images/roles/a/tasks/main.yml", "    name: docker-ce-27.1"),
        ("stacks/a.py", 'IMAGE = "python:3.13"'),
        ("workloads/a/workload.py", 'PACKAGES = ("ray[default]>=2.60",)'),
        ("stacks/a.py", 'URL = "https://example.com/v1.9/agent.tar.gz"'),
    ],
)
def test_a_version_is_seen_in_each_kind_of_file(path: str, line: str) -> None:
    assert literals(PurePath(path), f"# a comment\n{line}\n") == [f"{path}:2: {line.strip()}"]


@pytest.mark.parametrize(
    "line",
    [
        "ARG PIN_EFA_INSTALLER",
        'RUN pip install "uv==${PIN_UV}"',
        "  version: '{{ lock.versions.efa_installer }}'",
        "  address: 10.0.0.0/16",
        "  timeout: 1.5",
        "  version: 2",
        "curl http://169.254.169.254/latest/meta-data",
        'if [ "$count" -ge 2 ]; then',
        'git clone --branch "v${version}" https://github.com/NVIDIA/nccl-tests.git',
        "pip install --requirement requirements.txt",
        "pip install git+https://github.com/NVIDIA/apex@${COMMIT}",
        "docker pull $IMAGE",
    ],
)
def test_other_numbers_and_words_are_no_versions(line: str) -> None:
    path = PurePath("machine_images/roles/a/tasks/main.yml")
    assert [*floating(path, line), *literals(path, line)] == []


def test_images_are_pinned_by_a_tag_or_digest_that_was_read() -> None:
    images = [pin for pin in PINS if pin.is_image]
    assert {"CUDA base image", "MPI operator's image"} <= {pin.name for pin in images}
    for pin in images:
        assert not pin.endswith(":latest")
        # A digest is one that the pin's source states.
        assert pin.digest == UNKNOWN or "digest" in pin.source
    digest = f"sha256:{'0' * 64}"
    assert Pin("image", f"registry.example/a/b@{digest}", "digest of a test").digest == digest
    assert not any(pin.is_image for pin in PINS if pin.name in STACK)
