"""Objects of every configuration with Kubernetes: created in the stack's order, and deleted to the last one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kubernetes.combinations import COMBINATIONS, CONFIGURATIONS, STACKS
from tests.kubernetes.object_sets import all_deleted, create_all
from tests.kubernetes.plane.api import Api
from tests.kubernetes.plane.assets import Assets
from tests.kubernetes.releases import ASSET_CHARTS, Release, manifests, releases
from tests.synthesis import Synthesis


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_objects_of_a_configuration_are_created_in_order_and_deleted(
    configuration: str, synthesis: Callable[[str], Synthesis], with_definitions: Api, assets: Assets
) -> None:
    _create_and_delete(synthesis(configuration), with_definitions, assets)


@pytest.mark.heavy
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_objects_of_a_combination_are_created_in_order_and_deleted(
    combination: str, synthesized: Callable[[str], Synthesis], with_definitions: Api, assets: Assets
) -> None:
    _create_and_delete(synthesized(COMBINATIONS[combination]), with_definitions, assets)


def _create_and_delete(synthesis: Synthesis, api: Api, assets: Assets) -> None:
    stacks = [name for name in STACKS if name in synthesis.templates]
    assert stacks
    for stack in stacks:
        template = synthesis.templates[stack]
        ordered = releases(template)
        _check_order(ordered, assets)
        with all_deleted(api) as created:
            for release in ordered:
                create_all(api, release.documents, created, namespace=release.namespace)
            create_all(api, manifests(template), created)


def _check_order(ordered: list[Release], assets: Assets) -> None:
    """Check that a chart comes before the objects of its kinds, which the control plane of the test knows anyway."""
    groups: dict[str, str] = {}
    for chart, names in ASSET_CHARTS.items():
        for name in names:
            for one in assets.documents(name, "definitions"):
                groups[one["spec"]["group"]] = chart
    installed: set[str] = set()
    for release in ordered:
        installed.add(release.name)
        for one in release.documents:
            chart = groups.get(one["apiVersion"].partition("/")[0])
            assert chart is None or chart in installed, f"{release.name} needs {chart}, which comes later"
