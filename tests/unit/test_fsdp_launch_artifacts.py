"""The workload fsdp in HyperPodStack: a configuration that names it builds its image and ships its programs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from aws_cdk.assertions import Match

from tests.synthesis import ROOT, Synthesis, synthesize

STACK = "HyperPodStack"
MANIFEST = "fsdp/manifests/slurm.llama3-1-8b.4xgpu.sbatch"
SHIPPED = """
workloads:
  - {workload: fsdp, preset: llama3-1-8b, pool: gpu, nodes: 4, clusters: [hyperpod]}
"""


@pytest.fixture(scope="module")
def shipped(artifacts: Callable[[str], Path]) -> Synthesis:
    """The configuration of P5en nodes, with the flagship on four of them; cdk-nag accepts it."""
    folder = artifacts("fsdp-shipping")
    text = (ROOT / "config" / "p5en-training-plan.yaml").read_text(encoding="utf-8")
    (folder / "configuration.yaml").write_text(text + SHIPPED, encoding="utf-8")
    return synthesize(folder / "configuration.yaml", folder / "cdk.out")


def assets(shipped: Synthesis, holding: str) -> Path:
    """Return the one asset's folder that holds a file."""
    [found] = [path for path in shipped.folder.glob("asset.*") if (path / holding).is_file()]
    return found


def programs(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_image_is_built_of_what_its_dockerfile_copies(shipped: Synthesis) -> None:
    folder = assets(shipped, "fsdp/Dockerfile")
    copied = re.findall(
        r"^COPY (\S+) ", (folder / "fsdp/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {"fsdp/train.py", "fsdp/fsdp_trainer", "fsdp/requirements.txt", "runtime"} == set(copied)
    assert all((folder / source).exists() for source in copied)
    here = {path.name for path in (ROOT / "workloads/fsdp/fsdp_trainer").glob("*.py")}
    assert {path.name for path in (folder / "fsdp/fsdp_trainer").iterdir()} == here
    assert (folder / "runtime/training/distributed_checkpoint.py").is_file()
    assert not [path for path in programs(folder) if "manifests" in path or path.startswith("cpu_ddp")]
    # The base, and the workload upon it.
    assert len(shipped.resources(STACK, "Custom::CDKContainerImageBuild")) == 2


def test_the_bundle_holds_program_and_manifest(shipped: Synthesis) -> None:
    folder = assets(shipped, MANIFEST)
    [beside] = [
        path
        for path in shipped.folder.glob("asset.*")
        if (path / "fsdp/train.py").is_file() and not (path / "fsdp/Dockerfile").exists()
    ]
    for source in ("fsdp/train.py", "fsdp/requirements.txt", "fsdp/fsdp_trainer/pretraining.py"):
        assert (beside / source).read_bytes() == (ROOT / "workloads" / source).read_bytes()
    assert (beside / "base/runtime/launch_guard.py").is_file()
    [bundle] = [
        found["Properties"]
        for found in shipped.resources(STACK, "Custom::CDKBucketDeployment")
        if found["Properties"].get("DestinationBucketKeyPrefix") == "launch/hyperpod"
    ]
    keys = {key.removesuffix(".zip") for key in bundle["SourceObjectKeys"]}
    assert keys == {path.name.removeprefix("asset.") for path in (folder, beside)}
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    for word in (
        "#SBATCH --nodes=4",
        "--gpus-per-node=8",
        "--auto-resume=1",
        "--model=llama3-1-8b",
        "--efa=16",
    ):
        assert word in text
    # The URI is a deployment's to know: it is a marker until then, and for the workload's own image.
    assert re.search(r"--container-image=<<marker:0x\w+:\d+>>", text)


def test_the_cluster_info_names_the_image_and_nodes_may_pull_it(shipped: Synthesis) -> None:
    [parameter] = [
        found["Properties"]
        for found in shipped.resources(STACK, "AWS::SSM::Parameter")
        if found["Properties"]["Name"].endswith("/hyperpod/info")
    ]
    value = json.dumps(parameter["Value"])
    assert r"\"images\":{\"fsdp\":" in value.replace(" ", "").replace(r"\\", "\\")
    assert "/fsx/data/launch/hyperpod" in value
    shipped.template(STACK).has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [Match.object_like({"Action": Match.array_with(["ecr:BatchGetImage"])})]
                )
            }
        },
    )
