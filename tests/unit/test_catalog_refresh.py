"""`trainforge catalog refresh`: the data equals EC2's as the emulator has it, and every change is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from moto import mock_aws
from typer.testing import CliRunner, Result

from catalog import ec2, records
from cli import catalog as command

Refresh = Callable[..., Result]


@pytest.fixture
def refresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Refresh]:
    """Run the real refresh against the emulator's EC2, writing into a folder of the test."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(command, "_DATA", tmp_path)
    with mock_aws():
        yield lambda *arguments: CliRunner().invoke(command.app, ["refresh", *arguments])


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the refresh compare with a copy of the data that the test may change."""
    copies = {name: records.read(name) for name in ("instances.json", "hyperpod.json")}
    monkeypatch.setattr(records, "read", copies.__getitem__)
    return copies


def test_data_equals_what_ec2_and_botocore_say(refresh: Refresh, tmp_path: Path) -> None:
    result = refresh("--check")
    assert result.exit_code == 0, result.output
    assert "the catalog is current: 155 instance types" in result.output
    assert not list(tmp_path.iterdir())


def test_hyperpod_list_equals_botocore() -> None:
    shape = get_session().get_service_model("sagemaker").shape_for("ClusterInstanceType")
    listed = records.read("hyperpod.json")["instance_types"]
    assert [f"ml.{name}" for name in listed] == sorted(shape.metadata["enum"])


def test_check_reports_what_is_stale_and_writes_nothing(
    refresh: Refresh, kept: dict[str, Any], tmp_path: Path
) -> None:
    types = kept["instances.json"]["instances"]
    del types["g5.xlarge"]
    types["m5.large"]["vcpus"] = 3
    kept["hyperpod.json"]["instance_types"].remove("g5.xlarge")
    kept["hyperpod.json"]["instance_types"].append("x9.large")
    result = refresh("--check")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "added    g5.xlarge",
        "changed  m5.large: vcpus 3 -> 2",
        "added    g5.xlarge to HyperPod's list",
        "removed  x9.large from HyperPod's list",
        "the catalog is stale; 'trainforge catalog refresh' brings it up to date",
    ]
    assert not list(tmp_path.iterdir())


def test_refresh_writes_what_the_repository_holds(
    refresh: Refresh, kept: dict[str, Any], tmp_path: Path
) -> None:
    before = files("catalog") / "data"
    kept["instances.json"]["instances"]["m5.large"]["vcpus"] = 3
    kept["hyperpod.json"]["instance_types"].pop()
    result = refresh("--source", "the emulator")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hyperpod.json", "instances.json"]
    written = json.loads((tmp_path / "instances.json").read_text(encoding="utf-8"))
    original = json.loads((before / "instances.json").read_text(encoding="utf-8"))
    assert written["instances"] == original["instances"]
    assert written["source"] == "the emulator"
    assert (tmp_path / "hyperpod.json").read_bytes() == (before / "hyperpod.json").read_bytes()


def test_types_that_ec2_does_not_describe_are_kept_unless_pruned(
    refresh: Refresh, kept: dict[str, Any], tmp_path: Path
) -> None:
    types = kept["instances.json"]["instances"]
    types["p9.48xlarge"] = types["p5.48xlarge"]
    result = refresh()
    assert result.exit_code == 0
    assert "kept     p9.48xlarge, which EC2 does not describe here" in result.output
    assert not list(tmp_path.iterdir())
    assert refresh("--check", "--prune").exit_code == 1
    result = refresh("--prune")
    assert "removed  p9.48xlarge" in result.output
    assert "p9.48xlarge" not in (tmp_path / "instances.json").read_text(encoding="utf-8")


def test_an_empty_answer_is_a_message_and_exit_code_2(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2, "FILTERS", ("nothing.*",))
    result = refresh()
    assert result.exit_code == 2
    assert "describes none of the catalog's families; the files stay as they are" in result.output
    assert "Traceback" not in result.output


def test_unreachable_ec2_is_a_message_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("MAX_ATTEMPTS", "1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    result = CliRunner().invoke(command.app, ["refresh", "--endpoint-url", "http://localhost:1"])
    assert result.exit_code == 2
    assert result.output.startswith("error: EC2 in region 'us-east-1' did not answer: Could not connect")


def test_an_unwritable_folder_is_a_message_and_exit_code_2(
    refresh: Refresh, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept["hyperpod.json"]["instance_types"].pop()
    monkeypatch.setattr(command, "_DATA", tmp_path / "absent")
    result = refresh()
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory" in result.output


DESCRIPTION: dict[str, Any] = {
    "InstanceType": "x1.large",
    "BareMetal": False,
    "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
    "VCpuInfo": {"DefaultVCpus": 2, "DefaultCores": 1, "DefaultThreadsPerCore": 2},
    "MemoryInfo": {"SizeInMiB": 1024},
    "SupportedUsageClasses": ["spot", "on-demand"],
    "NetworkInfo": {
        "NetworkPerformance": "1 Gigabit",
        "NetworkCards": [
            {
                "NetworkCardIndex": index,
                "MaximumNetworkInterfaces": 2,
                "InterfaceTypes": ["interface"],
                "BaselineBandwidthInGbps": gbps,
            }
            for index, gbps in enumerate((1.0, 1.0, 2.0))
        ],
    },
}


def test_record_groups_alike_cards_and_leaves_out_what_ec2_does_not_say() -> None:
    record = ec2.record(DESCRIPTION)
    assert [(group["first"], group["count"]) for group in record["network_cards"]] == [(0, 2), (2, 1)]
    assert record["usage_classes"] == ["on-demand", "spot"]
    assert not {"accelerator", "instance_store", "valid_threads_per_core"} & set(record)


GPU = {"Name": "G", "Manufacturer": "M", "Count": 1, "MemoryInfo": {"SizeInMiB": 1}}
DISK = {"Count": 1, "SizeInGB": 1}
CARD = DESCRIPTION["NetworkInfo"]["NetworkCards"][1]


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ({"GpuInfo": {"Gpus": [GPU, GPU]}}, "more than one kind of accelerator"),
        ({"InstanceStorageInfo": {"Disks": [DISK, DISK]}}, "disks of several sizes"),
        ({"NetworkInfo": {"NetworkPerformance": "", "NetworkCards": [CARD]}}, "not numbered from 0"),
    ],
)
def test_what_the_model_cannot_hold_is_refused(addition: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^instance type 'x1.large': .*{complaint}"):
        ec2.record({**DESCRIPTION, **addition})
