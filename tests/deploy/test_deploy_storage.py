"""The deployed buckets and file systems, as S3 and FSx describe them."""

from __future__ import annotations

import json

import pytest

from tests.deploy.deployment import Deployment


@pytest.fixture(scope="module")
def buckets(deployment: Deployment) -> list[str]:
    """Return the names of the storage stack's buckets."""
    found = deployment.ids("storage", "AWS::S3::Bucket")
    assert len(found) >= 3
    return found


def test_buckets_are_encrypted_versioned_and_private(deployment: Deployment, buckets: list[str]) -> None:
    s3 = deployment.client("s3")
    for bucket in buckets:
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert list(block.values()) == [True] * 4
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert all(rule["Status"] == "Enabled" for rule in rules)
        assert rules


def test_buckets_take_tls_only(deployment: Deployment, buckets: list[str]) -> None:
    s3 = deployment.client("s3")
    for bucket in buckets:
        statements = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        denied = [
            item
            for item in statements
            if item["Effect"] == "Deny"
            and item.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        ]
        assert len(denied) == 1
        assert sorted(denied[0]["Resource"]) == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        assert denied[0]["Principal"] in ("*", {"AWS": "*"})


def test_data_and_scripts_are_access_logged_and_scripts_are_named_for_hyperpod(
    deployment: Deployment, buckets: list[str]
) -> None:
    s3 = deployment.client("s3")
    targets = {
        bucket: s3.get_bucket_logging(Bucket=bucket).get("LoggingEnabled", {}).get("TargetBucket")
        for bucket in buckets
    }
    unlogged = [bucket for bucket, target in targets.items() if target is None]
    assert len(unlogged) == 1
    assert set(targets.values()) == {None, unlogged[0]}
    assert [bucket for bucket in buckets if bucket.startswith("sagemaker-")]


def test_lustre_is_created_as_configured_and_linked_to_the_bucket(deployment: Deployment) -> None:
    section = deployment.settings.storage.lustre
    assert section is not None
    system = deployment.file_system("LUSTRE")
    configuration = system["LustreConfiguration"]
    assert system["StorageCapacity"] == section.capacity_gib
    assert configuration["DeploymentType"] == "PERSISTENT_2"
    assert configuration["PerUnitStorageThroughput"] == section.throughput_mbps_per_tib
    assert configuration["DataCompressionType"] == "LZ4"
    assert configuration["MetadataConfiguration"]["Mode"] == "AUTOMATIC"
    (link,) = deployment.client("fsx").describe_data_repository_associations()["Associations"]
    assert link["FileSystemId"] == system["FileSystemId"]
    assert link["DataRepositoryPath"] == f"s3://{deployment.stack('storage').outputs['DataBucketName']}"
    for policy in ("AutoImportPolicy", "AutoExportPolicy"):
        assert sorted(link["S3"][policy]["Events"]) == ["CHANGED", "DELETED", "NEW"]


def test_homes_are_on_openzfs(deployment: Deployment) -> None:
    section = deployment.settings.storage.openzfs
    assert section is not None
    system = deployment.file_system("OPENZFS")
    assert system["StorageCapacity"] == section.capacity_gib
    assert system["OpenZFSConfiguration"]["ThroughputCapacity"] == section.throughput_mbps
    assert system["OpenZFSConfiguration"]["DeploymentType"] == "SINGLE_AZ_HA_2"
