"""A second deployment, a change, and destruction: after the test_deploy_* files, which check the resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.cdk import ROOT, Cdk, CdkError
from emulator.inventory import inventory, left_over
from tests.deploy.deployment import CONFIGURATION, STACK, Deployment


def changed(deployment: Deployment, folder: Path, **lustre: Any) -> Cdk:
    """Return the CLI for the deployment's configuration with other keys of `storage.lustre`."""
    document = yaml.safe_load((ROOT / CONFIGURATION).read_text(encoding="utf-8"))
    document["storage"]["lustre"] |= lustre
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return Cdk(deployment.emulator, folder, directory=ROOT, context=[f"config={path}"])


def test_a_second_deployment_changes_nothing(deployment: Deployment, tmp_path: Path) -> None:
    """It synthesizes again: the second deployments of other modules get a copy of the first synthesis."""
    held, events = inventory(deployment.emulator), len(deployment.emulator.events())
    anew = Cdk(deployment.emulator, tmp_path, directory=ROOT, context=[f"config={CONFIGURATION}"])
    outcome = anew.deploy(STACK)
    assert outcome.text.count("(no changes)") == 3
    assert inventory(deployment.emulator) == held
    assert len(deployment.emulator.events()) == events


def test_a_mounted_file_system_is_not_replaced(deployment: Deployment, tmp_path: Path) -> None:
    held, lustre = inventory(deployment.emulator), deployment.file_system("LUSTRE")
    elsewhere = changed(deployment, tmp_path, availability_zone="us-west-2b")
    with pytest.raises(CdkError):
        elsewhere.deploy(STACK)
    log = elsewhere.log.read_text(encoding="utf-8")
    cluster, storage = deployment.stack("hyperpod"), deployment.stack("storage")
    assert "Update canceled. Cannot update export" in log
    assert f"as it is in use by {cluster.name}." in log
    assert (storage.status, cluster.status) == ("UPDATE_ROLLBACK_COMPLETE", "CREATE_COMPLETE")
    assert inventory(deployment.emulator) == held
    assert deployment.file_system("LUSTRE") == lustre


def test_an_update_changes_in_place(deployment: Deployment, tmp_path: Path) -> None:
    before = deployment.file_system("LUSTRE")
    changed(deployment, tmp_path, throughput_mbps_per_tib=500).deploy(STACK)
    after = deployment.file_system("LUSTRE")
    assert after["FileSystemId"] == before["FileSystemId"]
    assert after["LustreConfiguration"]["PerUnitStorageThroughput"] == 500
    assert deployment.stack("storage").status == "UPDATE_COMPLETE"


def test_nothing_is_left_after_destruction(deployment: Deployment) -> None:
    data = deployment.stack("storage").outputs["DataBucketName"]
    logs = deployment.hyperpod_logs()
    deployment.client("s3").put_object(Bucket=data, Key="checkpoints/step-1", Body=b"x")
    deployment.cdk.destroy()
    wrong, excused = left_over(deployment.emulator, deployment.before)
    assert wrong == []
    # A key waits for its window in AWS, too, and the nodes' logs belong to HyperPod; nothing else may be excused.
    assert {item for item, _ in excused if item[0] != "KMS key pending deletion"} == {("log group", logs)}
