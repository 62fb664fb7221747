"""Storage: buckets that keep to themselves, file systems on the grid, and what deletion leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from catalog.storage import LAUNCH_PREFIX
from tests.synthesis import Synthesis

BASE = "name: test\nregion: us-west-2\navailability_zones: [us-west-2a, us-west-2b]\n"


@pytest.fixture(scope="module")
def template(default_synthesis: Synthesis) -> Template:
    return default_synthesis.template("StorageStack")


def file_system(synthesis: Synthesis, kind: str) -> dict[str, Any]:
    [found] = [
        resource
        for resource in synthesis.resources("StorageStack", "AWS::FSx::FileSystem")
        if resource["Properties"]["FileSystemType"] == kind
    ]
    return found


def test_every_bucket_is_encrypted_versioned_and_private(template: Template) -> None:
    template.resource_count_is("AWS::S3::Bucket", 3)
    template.all_resources_properties(
        "AWS::S3::Bucket",
        {
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [
                    {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                ]
            },
            "VersioningConfiguration": {"Status": "Enabled"},
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        },
    )


def test_every_bucket_refuses_plain_text(default_synthesis: Synthesis) -> None:
    policies = default_synthesis.resources("StorageStack", "AWS::S3::BucketPolicy")
    assert len(policies) == 3
    for policy in policies:
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        denied = [
            statement["Condition"]
            for statement in statements
            if statement["Effect"] == "Deny" and statement["Principal"] == {"AWS": "*"}
        ]
        assert {"Bool": {"aws:SecureTransport": "false"}} in denied
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denied


def test_data_and_scripts_are_access_logged(default_synthesis: Synthesis) -> None:
    logged = [
        bucket["Properties"].get("LoggingConfiguration", {}).get("LogFilePrefix")
        for bucket in default_synthesis.resources("StorageStack", "AWS::S3::Bucket")
    ]
    assert sorted(filter(None, logged)) == ["Data/", "Scripts/"]


def test_the_scripts_bucket_has_the_prefix_that_hyperpod_demands(default_synthesis: Synthesis) -> None:
    names = [
        bucket["Properties"]["BucketName"]["Fn::Join"][1][0]
        for bucket in default_synthesis.resources("StorageStack", "AWS::S3::Bucket")
        if "BucketName" in bucket["Properties"]
    ]
    assert names == ["sagemaker-demo-"]


def test_lustre_is_persistent_compressed_and_tied_to_the_data_bucket(template: Template) -> None:
    template.has_resource_properties(
        "AWS::FSx::FileSystem",
        {
            "FileSystemType": "LUSTRE",
            "StorageCapacity": 1200,
            "LustreConfiguration": {
                "DeploymentType": "PERSISTENT_2",
                "DataCompressionType": "LZ4",
                "PerUnitStorageThroughput": 250,
                "MetadataConfiguration": {"Mode": "AUTOMATIC"},
                # FSx makes no backups of a file system that is tied to a bucket.
                "AutomaticBackupRetentionDays": 0,
                "EfaEnabled": Match.absent(),
            },
        },
    )
    events = {"Events": ["NEW", "CHANGED", "DELETED"]}
    template.has_resource_properties(
        "AWS::FSx::DataRepositoryAssociation",
        {"FileSystemPath": "/data", "S3": {"AutoImportPolicy": events, "AutoExportPolicy": events}},
    )


def test_lustre_over_efa_is_a_peer_of_the_nodes(synthesis: Callable[[str], Synthesis]) -> None:
    lustre = file_system(synthesis("config/p6-b300.yaml"), "LUSTRE")["Properties"]
    assert lustre["LustreConfiguration"]["EfaEnabled"] is True
    groups = [str(group) for group in lustre["SecurityGroupIds"]]
    assert any("EfaSecurityGroup" in group for group in groups)
    assert any("FileSystemSecurityGroup" in group for group in groups)


def test_an_ephemeral_deployment_leaves_nothing(default_synthesis: Synthesis) -> None:
    kinds = ("AWS::S3::Bucket", "AWS::FSx::FileSystem")
    resources = [found for kind in kinds for found in default_synthesis.resources("StorageStack", kind)]
    assert {resource["DeletionPolicy"] for resource in resources} == {"Delete"}
    assert len(default_synthesis.resources("StorageStack", "Custom::S3AutoDeleteObjects")) == 3
    home = file_system(default_synthesis, "OPENZFS")
    assert home["Properties"]["OpenZFSConfiguration"]["AutomaticBackupRetentionDays"] == 0
    [cleanup] = [
        logical_id
        for logical_id, resource in default_synthesis.templates["StorageStack"]["Resources"].items()
        if resource["Type"] == "Custom::TrainforgeBackupCleanup"
    ]
    # CloudFormation deletes the file system first, then the cleanup finds its final backup by this tag.
    assert cleanup in home["DependsOn"]
    tag = default_synthesis.only("StorageStack", "Custom::TrainforgeBackupCleanup")
    assert {"Key": tag["TagKey"], "Value": tag["TagValue"]} in home["Properties"]["Tags"]


def test_a_durable_deployment_keeps_and_backs_up(synthesis: Callable[[str], Synthesis]) -> None:
    durable = synthesis("config/p5en-training-plan.yaml")
    kinds = ("AWS::S3::Bucket", "AWS::FSx::FileSystem")
    resources = [found for kind in kinds for found in durable.resources("StorageStack", kind)]
    assert {resource["DeletionPolicy"] for resource in resources} == {"Retain"}
    assert {resource["UpdateReplacePolicy"] for resource in resources} == {"Retain"}
    assert durable.resources("StorageStack", "Custom::S3AutoDeleteObjects") == []
    assert durable.resources("StorageStack", "Custom::TrainforgeBackupCleanup") == []
    home = file_system(durable, "OPENZFS")["Properties"]["OpenZFSConfiguration"]
    assert home["AutomaticBackupRetentionDays"] == 30


def test_a_durable_lustre_without_a_bucket_is_backed_up(synthesized: Callable[[str], Synthesis]) -> None:
    synthesis = synthesized(
        BASE + "retention: durable\nstorage: {lustre: {repository: false, backup_days: 14}}\n"
    )
    lustre = file_system(synthesis, "LUSTRE")["Properties"]["LustreConfiguration"]
    assert lustre["AutomaticBackupRetentionDays"] == 14
    assert lustre["CopyTagsToBackups"] is True
    assert synthesis.resources("StorageStack", "AWS::FSx::DataRepositoryAssociation") == []


def test_a_home_in_two_zones_has_both_subnets_and_every_route_table(
    synthesis: Callable[[str], Synthesis],
) -> None:
    home = file_system(synthesis("config/p5en-training-plan.yaml"), "OPENZFS")["Properties"]
    assert home["OpenZFSConfiguration"]["DeploymentType"] == "MULTI_AZ_1"
    assert len(home["SubnetIds"]) == 2
    assert home["OpenZFSConfiguration"]["PreferredSubnetId"] == home["SubnetIds"][0]
    assert len(home["OpenZFSConfiguration"]["RouteTableIds"]) == 2


def test_existing_storage_is_used_and_not_made(synthesis: Callable[[str], Synthesis]) -> None:
    existing = synthesis("config/existing-vpc-and-storage.yaml")
    assert existing.resources("StorageStack", "AWS::FSx::FileSystem") == []
    # The scripts bucket and the bucket of access logs; the data bucket is the given one.
    assert len(existing.resources("StorageStack", "AWS::S3::Bucket")) == 2
    policy = existing.only("StorageStack", "AWS::IAM::ManagedPolicy")
    assert "example-training-data/*" in str(policy["PolicyDocument"])


def test_nodes_may_write_data_and_only_read_scripts(default_synthesis: Synthesis) -> None:
    statements = default_synthesis.only("StorageStack", "AWS::IAM::ManagedPolicy")["PolicyDocument"][
        "Statement"
    ]
    [writes] = [s for s in statements if "s3:PutObject" in s["Action"] and s["Effect"] == "Allow"]
    assert "Data" in str(writes["Resource"])
    assert "Scripts" not in str(writes["Resource"])


def test_nodes_may_not_write_what_jobs_are_launched_from(default_synthesis: Synthesis) -> None:
    statements = default_synthesis.only("StorageStack", "AWS::IAM::ManagedPolicy")["PolicyDocument"][
        "Statement"
    ]
    [denied] = [statement for statement in statements if statement["Effect"] == "Deny"]
    assert set(denied["Action"]) == {"s3:DeleteObject", "s3:PutObject"}
    assert denied["Resource"]["Fn::Join"][1][1] == f"/{LAUNCH_PREFIX}/*"
    assert "Data" in str(denied["Resource"])
    assert "Condition" not in denied


def test_the_newest_version_of_data_never_expires(default_synthesis: Synthesis) -> None:
    expiring = []
    for bucket in default_synthesis.resources("StorageStack", "AWS::S3::Bucket"):
        [rule] = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
        # Checkpoints are the newest versions; the log bucket is no source of access logs itself.
        if "ExpirationInDays" in rule:
            expiring.append("LoggingConfiguration" in bucket["Properties"])
    assert expiring == [False]


def test_deleting_homes_does_not_stop_at_volumes_and_snapshots(default_synthesis: Synthesis) -> None:
    home = file_system(default_synthesis, "OPENZFS")["Properties"]["OpenZFSConfiguration"]
    assert home["Options"] == ["DELETE_CHILD_VOLUMES_AND_SNAPSHOTS"]
