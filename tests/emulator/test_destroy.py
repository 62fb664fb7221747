"""The deployment a second time, and its destruction: after the test_deploy_* files, which look at what stands."""

from __future__ import annotations

from tests.emulator.deployment import STACK, Deployment
from tests.emulator.inventory import inventory, left_over


def test_a_second_deployment_changes_nothing(deployment: Deployment) -> None:
    held, events = inventory(deployment.emulator), len(deployment.emulator.events())
    outcome = deployment.cdk.deploy(STACK)
    assert outcome.text.count("(no changes)") == 3
    assert inventory(deployment.emulator) == held
    assert len(deployment.emulator.events()) == events


def test_nothing_is_left_after_destruction(deployment: Deployment) -> None:
    data = deployment.stack("storage").outputs["DataBucketName"]
    deployment.client("s3").put_object(Bucket=data, Key="checkpoints/step-1", Body=b"x")
    deployment.cdk.destroy()
    wrong, excused = left_over(deployment.emulator, deployment.before)
    assert wrong == []
    # A key waits for its window in AWS, too; nothing else may be excused.
    assert {kind for (kind, _), _ in excused} <= {"KMS key pending deletion"}
