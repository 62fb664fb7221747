"""Buckets, FSx file systems and their repository associations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.emulator.formation import Formation, att, ref, resources

ZONE = "us-west-2a"
NETWORK: dict[str, tuple[str, dict[str, Any]]] = {
    "Vpc": ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16"}),
    "Subnet": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Vpc"), "CidrBlock": "10.0.0.0/20", "AvailabilityZone": ZONE},
    ),
    "Group": ("AWS::EC2::SecurityGroup", {"GroupDescription": "all", "VpcId": ref("Vpc")}),
}


def bucket_properties() -> dict[str, Any]:
    return {
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
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "LifecycleConfiguration": {
            "Rules": [
                {
                    "Id": "Tidy",
                    "Status": "Enabled",
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                }
            ]
        },
    }


def test_a_bucket_is_configured_as_asked(formation: Formation) -> None:
    template = resources(
        Logs=("AWS::S3::Bucket", {}),
        Data=(
            "AWS::S3::Bucket",
            {
                **bucket_properties(),
                "LoggingConfiguration": {"DestinationBucketName": ref("Logs"), "LogFilePrefix": "data/"},
                "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
            },
        ),
        Policy=(
            "AWS::S3::BucketPolicy",
            {
                "Bucket": ref("Data"),
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Deny",
                            "Principal": {"AWS": "*"},
                            "Action": "s3:*",
                            "Resource": [att("Data", "Arn"), {"Fn::Sub": "${Data.Arn}/*"}],
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        }
                    ],
                },
            },
        ),
    )
    with formation.deployed(template) as name:
        s3, bucket = formation.emulator.client("s3"), formation.physical_id(name, "Data")
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert set(block.values()) == {True}
        (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
        logging = s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]
        assert logging["TargetBucket"] == formation.physical_id(name, "Logs")
        (statement,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        assert statement["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        # The policy denies plain HTTP, which is all there is here: it is kept, and not enforced.
        s3.put_object(Bucket=bucket, Key="x", Body=b"x")
        s3.delete_object(
            Bucket=bucket,
            Key="x",
            VersionId=s3.list_object_versions(Bucket=bucket)["Versions"][0]["VersionId"],
        )
        template["Resources"]["Data"]["Properties"]["VersioningConfiguration"] = {"Status": "Suspended"}
        del template["Resources"]["Data"]["Properties"]["LifecycleConfiguration"]
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
            s3.get_bucket_lifecycle_configuration(Bucket=bucket)


def test_an_unknown_bucket_property_fails(formation: Formation) -> None:
    name = formation.create(resources(Data=("AWS::S3::Bucket", {"ObjectLockEnabled": True})))
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert "does not configure ['ObjectLockEnabled']" in formation.reasons(name)


def test_acls_are_refused_where_the_owner_is_enforced(formation: Formation) -> None:
    name = formation.create(resources(Data=("AWS::S3::Bucket", {"AccessControl": "PublicRead"})))
    assert "Bucket cannot have ACLs set" in formation.reasons(name)


def lustre(**more: Any) -> tuple[str, dict[str, Any]]:
    return "AWS::FSx::FileSystem", {
        "FileSystemType": "LUSTRE",
        "FileSystemTypeVersion": "2.15",
        "StorageCapacity": 1200,
        "StorageType": "SSD",
        "SubnetIds": [ref("Subnet")],
        "SecurityGroupIds": [ref("Group")],
        "LustreConfiguration": {
            "DeploymentType": "PERSISTENT_2",
            "PerUnitStorageThroughput": 125,
            "DataCompressionType": "LZ4",
            "MetadataConfiguration": {"Mode": "AUTOMATIC"},
            **more,
        },
    }


def openzfs() -> tuple[str, dict[str, Any]]:
    return "AWS::FSx::FileSystem", {
        "FileSystemType": "OPENZFS",
        "StorageCapacity": 64,
        "StorageType": "SSD",
        "SubnetIds": [ref("Subnet")],
        "OpenZFSConfiguration": {
            "DeploymentType": "SINGLE_AZ_HA_2",
            "ThroughputCapacity": 160,
            "CopyTagsToBackups": True,
            "Options": ["DELETE_CHILD_VOLUMES_AND_SNAPSHOTS"],
            "RootVolumeConfiguration": {"DataCompressionType": "LZ4"},
        },
        "Tags": [{"Key": "owner", "Value": "test"}],
    }


def test_lustre_with_a_repository(formation: Formation) -> None:
    template = resources(
        **NETWORK,
        Data=("AWS::S3::Bucket", {}),
        Files=lustre(),
        Link=(
            "AWS::FSx::DataRepositoryAssociation",
            {
                "FileSystemId": ref("Files"),
                "FileSystemPath": "/data",
                "DataRepositoryPath": {"Fn::Sub": "s3://${Data}"},
                "BatchImportMetaDataOnCreate": True,
                "S3": {"AutoImportPolicy": {"Events": ["NEW", "CHANGED", "DELETED"]}},
            },
        ),
    )
    template["Outputs"] = {
        name: {"Value": att("Files", name)} for name in ("LustreMountName", "DNSName", "ResourceARN", "Id")
    }
    template["Outputs"]["Link"] = {"Value": att("Link", "AssociationId")}
    with formation.deployed(template) as name:
        found, fsx = formation.outputs(name), formation.emulator.client("fsx")
        held = formation.physical_id(name, "Files")
        (system,) = fsx.describe_file_systems(FileSystemIds=[held])["FileSystems"]
        assert held == found["Id"]
        assert len(held) == len("fs-") + 17
        assert system["LustreConfiguration"]["MountName"] == found["LustreMountName"]
        assert system["LustreConfiguration"]["MetadataConfiguration"] == {"Mode": "AUTOMATIC"}
        assert system["FileSystemTypeVersion"] == "2.15"
        assert system["VpcId"] == formation.physical_id(name, "Vpc")
        assert found["DNSName"] == f"{held}.fsx.us-west-2.amazonaws.com"
        (link,) = fsx.describe_data_repository_associations(AssociationIds=[found["Link"]])["Associations"]
        assert link["FileSystemPath"] == "/data"
        assert link["S3"]["AutoImportPolicy"]["Events"] == ["NEW", "CHANGED", "DELETED"]
        configuration = template["Resources"]["Files"]["Properties"]["LustreConfiguration"]
        configuration["PerUnitStorageThroughput"] = 250
        policy = {"AutoExportPolicy": {"Events": ["NEW"]}}
        template["Resources"]["Link"]["Properties"]["S3"] = policy
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        (system,) = fsx.describe_file_systems(FileSystemIds=[held])["FileSystems"]
        assert system["LustreConfiguration"]["PerUnitStorageThroughput"] == 250
        assert system["LustreConfiguration"]["DataCompressionType"] == "LZ4"
        (link,) = fsx.describe_data_repository_associations()["Associations"]
        assert link["S3"] == policy


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"SubnetIds": ["subnet-0123456789abcdef0"]}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "is not in the VPC"),
        ({"StorageCapacity": "much"}, "'much' is not of type 'integer'"),
    ],
)
def test_a_file_system_needs_what_it_names(formation: Formation, change: dict[str, Any], reason: str) -> None:
    template = resources(**NETWORK, Files=lustre())
    template["Resources"]["Files"]["Properties"] |= change
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"
    assert reason in formation.reasons(name)


def test_a_change_that_fsx_does_not_take_fails(formation: Formation) -> None:
    template = resources(**NETWORK, Files=lustre(EfaEnabled=False))
    with formation.deployed(template) as name:
        template["Resources"]["Files"]["Properties"]["LustreConfiguration"]["EfaEnabled"] = True
        assert formation.update(name, template) == "UPDATE_ROLLBACK_COMPLETE"
        assert "EfaEnabled" in formation.reasons(name)


def test_openzfs_leaves_a_final_backup_with_its_tags(formation: Formation) -> None:
    template = resources(**NETWORK, Home=openzfs())
    template["Outputs"] = {"Root": {"Value": att("Home", "RootVolumeId")}}
    fsx = formation.emulator.client("fsx")
    with formation.deployed(template) as name:
        held = formation.physical_id(name, "Home")
        (system,) = fsx.describe_file_systems(FileSystemIds=[held])["FileSystems"]
        assert system["OpenZFSConfiguration"]["RootVolumeId"] == formation.outputs(name)["Root"]
        assert len(formation.outputs(name)["Root"]) == len("fsvol-") + 17
    (backup,) = [
        item
        for item in fsx.describe_backups()["Backups"]
        if {"Key": "owner", "Value": "test"} in item["Tags"]
    ]
    assert backup["Lifecycle"] == "AVAILABLE"
    fsx.delete_backup(BackupId=backup["BackupId"])
