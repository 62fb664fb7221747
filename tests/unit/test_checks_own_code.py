"""Rules on users' own code: folders of workloads, their names and bases, and base images without a workload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from settings.deployment import Settings
from settings.loaded_config import read
from settings.rules import check
from tests.conftest import ROOT
from tests.unit.configuration import GONE, changed, found

FOLDER = str(ROOT / "tests" / "own_code" / "my-training")
AGAIN = str(ROOT / "tests" / "own_code" / "again" / "my-training")
RUN = {"path": FOLDER, "pool": "gpu", "clusters": ["hyperpod"]}
CPU = {"instance_type": "c6i.4xlarge", "nodes": 2}


def _runs(*runs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "workloads": [RUN | run for run in runs],
        **{key.replace("__", "."): value for key, value in more.items()},
    }


BOTH_POOLS: dict[str, Any] = {"pools__cpu": CPU, "hyperpod__pools": ["gpu", "cpu"]}

CASES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    (_runs({}), set()),
    (_runs({"preset": "default", "arguments": ["--lr=1e-4"]}, {"nodes": 1}), set()),
    (_runs({"preset": "large"}), {("workload-preset", "workloads.0.preset")}),
    (_runs({"path": f"{FOLDER}/nothing"}), {("workload-path", "workloads.0.path")}),
    (_runs({"path": "/"}), {("workload-path", "workloads.0.path")}),
    (_runs({"workload": "cpu-ddp"}), {("workload-reference", "workloads.0.path")}),
    (_runs({"path": ""}), {("workload-reference", "workloads.0")}),
    (_runs({}, {"path": AGAIN}), {("workload-name-repeated", "workloads.1.path")}),
    # one image, on one base
    (_runs({"pool": "cpu"}, **BOTH_POOLS), set()),
    (_runs({}, {"pool": "cpu"}, **BOTH_POOLS), {("workload-base", "workloads.1.pool")}),
    # base images
    ({"base_images": ["hyperpod"]}, set()),
    ({"base_images": ["eks"]}, {("base-images-cluster", "base_images.0")}),
    (
        {"base_images": ["hyperpod"], "storage.lustre": GONE},
        {("base-images-unseen", "base_images.0")},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=str)
def test_own_code(changes: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert found(changes) == expected


def test_a_folder_is_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "my-training").mkdir()
    (tmp_path / "my-training" / "train.py").touch()
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "own.yaml"
    file.write_text(yaml.safe_dump(changed(_runs({"path": "../my-training"}))), encoding="utf-8")
    loaded = read(file)
    assert loaded.findings == ()
    assert loaded.settings
    assert loaded.settings.workloads[0].path == str(tmp_path / "my-training")
    file.write_text(yaml.safe_dump(changed(_runs({"path": "../other"}))), encoding="utf-8")
    [finding] = read(file).findings
    assert f"the folder '{tmp_path}/other' does not exist" in str(finding)


def test_all_mistakes_of_a_folder_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "my-training"
    folder.mkdir()
    (folder / "train.py").touch()
    (folder / "data").symlink_to(tmp_path)
    (folder / "a\nb").touch()
    messages = [str(one) for one in check(Settings.model_validate(changed(_runs({"path": str(folder)}))))]
    assert len(messages) == 2
    assert any("the link 'data' leads out of the folder" in message for message in messages)
    assert any("has a control character or a backslash" in message for message in messages)
