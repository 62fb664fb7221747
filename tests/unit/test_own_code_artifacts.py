"""Users' own code in a cluster's stack: its image, its programs and manifests, and the base images of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.cluster_info import ClusterInfo
from tests.synthesis import Synthesis, synthesize
from tests.unit.test_launch_artifacts import joined

CONFIGURATION = """
name: own
region: us-west-2
availability_zones: [us-west-2a]
pools:
  cpu: {instance_type: c6i.4xlarge, nodes: 2}
  gpu: {instance_type: g5.8xlarge, nodes: 2}
network: {isolated: false}
storage: {lustre: {}}
batch: {pools: [cpu, gpu]}
base_images: [batch]
workloads:
  - {path: ../my-training, pool: cpu, clusters: [batch], arguments: [--lr=0.2]}
  - {path: ../built, pool: cpu, nodes: 1, clusters: [batch]}
  - {path: ../staged, pool: gpu, prepare_on: cpu, clusters: [batch]}
  - {path: ../staged, pool: gpu, nodes: 1, prepare_on: cpu, clusters: [batch]}
"""

STAGED = """
from workloads import Image, Program, Stage, Workload

WORKLOAD = Workload(
    name="staged",
    stages=(
        Stage(name="download", program=Program(path="train.py")),
        Stage(name="convert", program=Program(path="train.py"), image=Image("cpu"), nodes=None),
    ),
)
"""


@pytest.fixture(scope="module")
def made(artifacts: Callable[[str], Path]) -> Synthesis:
    folder = artifacts("own-code")
    for name in ("my-training", "built", "staged"):
        (folder / name / "manifests").mkdir(parents=True)
        (folder / name / "train.py").write_text("import manifests.part\n", encoding="utf-8")
        (folder / name / "manifests" / "part.py").touch()
        (folder / name / ".env").write_text("SECRET=1\n", encoding="utf-8")
    (folder / "my-training" / "requirements.txt").write_text("einops\n", encoding="utf-8")
    (folder / "built" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY . /own\n", encoding="utf-8")
    (folder / "staged" / "workload.py").write_text(STAGED, encoding="utf-8")
    (folder / "staged" / "Dockerfile.convert").write_text("ARG BASE\nFROM ${BASE}\n", encoding="utf-8")
    (folder / "config").mkdir()
    (folder / "config" / "own.yaml").write_text(CONFIGURATION, encoding="utf-8")
    before = sorted(folder.rglob("*"))
    synthesis = synthesize(folder / "config" / "own.yaml", folder / "cdk.out")
    after = [path for path in sorted(folder.rglob("*")) if not path.is_relative_to(folder / "cdk.out")]
    assert after == before, "nothing is written into folders of one's own"
    return synthesis


def assets(made: Synthesis, marker: str) -> list[Path]:
    """Return the folders of assets that have a file."""
    return sorted(path for path in made.folder.glob("asset.*") if (path / marker).exists())


def test_the_build_context_has_the_folder_and_the_runtime(made: Synthesis) -> None:
    contexts = assets(made, "Dockerfile.own")
    assert len(contexts) == 3, "a stage with an image of its own has the same"
    for context in contexts:
        assert (context / "runtime" / "launch_guard.py").is_file()
        assert (context / "workload" / "train.py").is_file()
        assert (context / "workload" / "manifests" / "part.py").is_file()
        assert not (context / "workload" / ".env").exists()
    assert sum((context / "workload" / "requirements.txt").exists() for context in contexts) == 1


def builds(made: Synthesis) -> dict[str, dict[str, Any]]:
    """Return the properties of each image's build, by its id without the part of the build itself."""
    resources = made.templates["BatchStack"]["Resources"]
    return {
        name.rpartition("Build")[0]: resource["Properties"]
        for name, resource in resources.items()
        if "imageTag" in resource.get("Properties", {})
    }


def test_an_own_dockerfile_is_built_between_the_base_and_the_folder(made: Synthesis) -> None:
    found = builds(made)
    assert {"WorkloadsBaseCpu", "WorkloadsBaseCuda", "WorkloadsOwnMyTrainingImage"} <= found.keys()
    assert {"WorkloadsOwnBuiltEnvironment", "WorkloadsOwnBuiltImage"} <= found.keys()
    assert "WorkloadsOwnMyTrainingEnvironment" not in found

    def base(name: str) -> str:
        return json.dumps(found[name])

    assert "WorkloadsBaseCpuBuild" in base("WorkloadsOwnMyTrainingImage")
    assert "WorkloadsBaseCpuBuild" in base("WorkloadsOwnBuiltEnvironment")
    assert "WorkloadsOwnBuiltEnvironmentBuild" in base("WorkloadsOwnBuiltImage")
    [own] = [path for path in assets(made, "Dockerfile") if (path / "train.py").exists()]
    assert not (own / "runtime").exists()


def test_the_cluster_info_names_images_and_bases(made: Synthesis) -> None:
    info = ClusterInfo.from_json(joined(made.only("BatchStack", "AWS::SSM::Parameter")["Value"]))
    assert set(info.images) == {"my-training", "built", "staged", "staged-convert"}
    assert set(info.base_images) == {"cpu", "cuda"}
    assert info.isolated is False
    assert info.launch_folder == "/fsx/data/launch/batch"


def test_nodes_may_pull_the_bases(made: Synthesis) -> None:
    policies = json.dumps(made.resources("BatchStack", "AWS::IAM::Policy"))
    for repository in ("BaseCpuRepository", "BaseCudaRepository", "OwnMyTrainingImageRepository"):
        assert repository in policies


def test_the_bundle_has_programs_and_manifests(made: Synthesis) -> None:
    [bundle] = assets(made, "my_training/train.py")
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {"my_training/train.py", "my_training/manifests/part.py", "built/train.py"} <= files
    assert "my_training/.env" not in files
    [manifest] = made.folder.rglob("batch.default.2xcpu.json")
    definition = json.loads(manifest.read_text(encoding="utf-8"))
    [range_] = definition["nodeProperties"]["nodeRangeProperties"]
    script = range_["container"]["command"][2]
    assert "/opt/trainforge/workload/train.py" in script
    assert "--lr=0.2" in script


def test_a_stage_is_shipped_with_its_workload(made: Synthesis) -> None:
    """A manifest and a job definition of each, once for runs of several sizes; an image where it has its own."""
    manifests = {path.name for path in made.folder.rglob("staged/manifests/*.json")}
    assert manifests == {
        "batch.default.2xgpu.json",
        "batch.default.1xgpu.json",
        "batch.default.download.1xcpu.json",
        # On as many nodes as the run has.
        "batch.default.convert.2xcpu.json",
        "batch.default.convert.1xcpu.json",
    }
    definitions = [
        resource["Properties"]["JobDefinitionName"]
        for resource in made.resources("BatchStack", "AWS::Batch::JobDefinition")
        if "staged" in resource["Properties"]["JobDefinitionName"]
    ]
    assert sorted(definitions) == [
        "own-staged-default-1xgpu",
        "own-staged-default-2xgpu",
        "own-staged-default-convert-1xcpu",
        "own-staged-default-convert-2xcpu",
        "own-staged-default-download-1xcpu",
    ]
    found = builds(made)
    assert "WorkloadsBaseCpuBuild" in json.dumps(found["WorkloadsOwnStagedConvertEnvironment"])
    assert "WorkloadsOwnStagedConvertEnvironmentBuild" in json.dumps(found["WorkloadsOwnStagedConvertImage"])
    assert "WorkloadsBaseCudaBuild" in json.dumps(found["WorkloadsOwnStagedImage"])
