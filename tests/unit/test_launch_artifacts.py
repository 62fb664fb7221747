"""Launch artifacts of a cluster's stack: images for containers, and none for a virtual environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from tests.conftest import ROOT
from tests.synthesis import Synthesis, synthesize

ENVIRONMENT = "/fsx/environments/torch"


@pytest.fixture(scope="module")
def in_environment(artifacts: Callable[[str], Path]) -> Synthesis:
    """Return config/cpu.yaml, synthesized with both of its runs in a virtual environment."""
    text = (ROOT / "config" / "cpu.yaml").read_text(encoding="utf-8")
    changed = text.replace(
        "clusters: [hyperpod]", f"clusters: [hyperpod], virtual_environment: {ENVIRONMENT}"
    )
    assert changed.count(ENVIRONMENT) == 2
    folder = artifacts("shipping-environment")
    (folder / "configuration.yaml").write_text(changed, encoding="utf-8")
    return synthesize(folder / "configuration.yaml", folder / "cdk.out")


def joined(value: Any) -> str:
    """Return a value of a template as text, with a word in place of values that are known at deployment."""
    if isinstance(value, str):
        return value
    assert set(value) == {"Fn::Join"}, value
    return "".join(part if isinstance(part, str) else "UNKNOWN" for part in value["Fn::Join"][1])


def test_no_image_is_built_for_an_environment(in_environment: Synthesis) -> None:
    kinds = {resource["Type"] for resource in in_environment.templates["HyperPodStack"]["Resources"].values()}
    assert not {kind for kind in kinds if "ECR" in kind or "CodeBuild" in kind}


def test_the_cluster_info_names_the_environment(in_environment: Synthesis) -> None:
    parameter = in_environment.only("HyperPodStack", "AWS::SSM::Parameter")
    info = ClusterInfo.from_json(joined(parameter["Value"]))
    assert info.images == {}
    assert info.virtual_environments == {"cpu-ddp": ENVIRONMENT}
    assert info.environment_of("cpu-ddp") == ENVIRONMENT
    assert info.environment_of("fsdp") == ""


def test_shipped_manifests_run_in_the_environment(in_environment: Synthesis) -> None:
    manifests = list(in_environment.folder.rglob("*.sbatch"))
    assert {path.name for path in manifests} == {"slurm.reference.2xcpu.sbatch", "slurm.tiny.2xspare.sbatch"}
    for path in manifests:
        text = path.read_text(encoding="utf-8")
        assert f'export PATH="{ENVIRONMENT}/bin:$PATH"' in text
        assert "/fsx/data/launch/hyperpod/cpu_ddp/train.py" in text
        assert "--container" not in text
