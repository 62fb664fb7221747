"""The registries that a cluster pulls images from, and the page that lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.charts import CHARTS, EKS_HOST, HYPERPOD_CHART_IMAGE_HOSTS
from tests.kubernetes.releases import Release, releases
from tests.synthesis import Synthesis

PAGE = Path(__file__).resolve().parents[2] / "docs" / "eks-software.md"
TITLES = {"eks": "EKS", "hyperpod-eks": "HyperPod EKS"}
STACKS = {"eks": "EksStack", "hyperpod-eks": "HyperPodEksStack"}


def host(image: str) -> str:
    """Return the registry of an image, as a container runtime reads its name."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first) else "docker.io"


def hosts(release: Release) -> set[str]:
    """Return where a release's pods pull from: by its objects, or by the catalog where the chart is another's."""
    if release.chart:
        (chart,) = [one for one in CHARTS if one.release == release.name]
        return set(chart.image_hosts)
    return {
        host(container["image"])
        for one in release.documents
        if one["kind"] in {"Deployment", "DaemonSet", "StatefulSet", "Job"}
        for part in ("initContainers", "containers")
        for container in one["spec"]["template"]["spec"].get(part, ())
    }


def rows(cluster: str, template: dict[str, object]) -> Iterator[str]:
    """Yield the lines of the page's table of a cluster: what of a template pulls images, and from where."""
    found = {release.name: hosts(release) for release in releases(template)}
    if any(one["Type"] == "Custom::TrainforgeHyperPodChart" for one in template["Resources"].values()):
        found["HyperPod's chart"] = set(HYPERPOD_CHART_IMAGE_HOSTS)
    for name, pulled in sorted(found.items()):
        if pulled:
            yield f"| {TITLES[cluster]} | {name} | {', '.join(sorted(pulled))} |"


@pytest.mark.parametrize("cluster", STACKS)
def test_the_page_lists_where_images_come_from(cluster: str, synthesis: Callable[[str], Synthesis]) -> None:
    template = synthesis(f"config/{cluster}.yaml").templates[STACKS[cluster]]
    written = [
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {TITLES[cluster]} |") and "|" in line[2:]
    ]
    assert written == list(rows(cluster, template))


def test_an_image_without_a_host_is_docker_hub_s() -> None:
    assert host("alpine:3.10") == host("mpioperator/mpi-operator:0.8.0") == "docker.io"
    assert host("ghcr.io/kubeflow/a:1") == "ghcr.io"
    assert EKS_HOST not in {host("602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/a")}
