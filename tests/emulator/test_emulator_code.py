"""Functions, layers and repositories; and types that only moto models."""

from __future__ import annotations

import io
import json
import zipfile

from tests.emulator.formation import Formation, att, resources
from tests.emulator.test_emulator_services import trust


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, text in files.items():
            packed.writestr(f"{name}.py", text)
    return buffer.getvalue()


def test_functions_and_layers_take_their_code_from_a_bucket(formation: Formation) -> None:
    s3 = formation.emulator.client("s3")
    s3.create_bucket(Bucket="emulator-code", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(
        Bucket="emulator-code", Key="one.zip", Body=archive(index="def handler(event, context): pass")
    )
    code = {"S3Bucket": "emulator-code", "S3Key": "one.zip"}
    template = resources(
        Role=("AWS::IAM::Role", {"AssumeRolePolicyDocument": trust()}),
        Function=(
            "AWS::Lambda::Function",
            {
                "Runtime": "python3.13",
                "Handler": "index.handler",
                "Role": att("Role", "Arn"),
                "Code": code,
                "Timeout": "60",
                "MemorySize": 256,
            },
        ),
        Layer=("AWS::Lambda::LayerVersion", {"Content": code, "CompatibleRuntimes": ["python3.13"]}),
    )
    with formation.deployed(template) as name:
        function = formation.physical_id(name, "Function")
        facts = formation.emulator.client("lambda").get_function(FunctionName=function)["Configuration"]
        assert (facts["Timeout"], facts["MemorySize"], facts["Runtime"]) == (60, 256, "python3.13")
        assert formation.physical_id(name, "Layer").startswith("arn:aws:lambda:")
        template["Resources"]["Function"]["Properties"]["MemorySize"] = 512
        assert formation.update(name, template) == "UPDATE_COMPLETE", formation.reasons(name)
        facts = formation.emulator.client("lambda").get_function(FunctionName=function)["Configuration"]
        assert facts["MemorySize"] == 512
    template["Resources"]["Function"]["Properties"]["Code"]["S3Key"] = "nowhere.zip"
    name = formation.create(template)
    assert formation.status(name) == "ROLLBACK_COMPLETE"


def test_a_repository_with_its_policies(formation: Formation) -> None:
    lifecycle = json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "selection": {
                        "tagStatus": "untagged",
                        "countType": "imageCountMoreThan",
                        "countNumber": 1,
                    },
                    "action": {"type": "expire"},
                }
            ]
        }
    )
    template = resources(
        Images=(
            "AWS::ECR::Repository",
            {
                "ImageScanningConfiguration": {"ScanOnPush": True},
                "ImageTagMutability": "IMMUTABLE",
                "LifecyclePolicy": {"LifecyclePolicyText": lifecycle},
            },
        )
    )
    template["Outputs"] = {"Uri": {"Value": att("Images", "RepositoryUri")}}
    with formation.deployed(template) as name:
        ecr, held = formation.emulator.client("ecr"), formation.physical_id(name, "Images")
        (found,) = ecr.describe_repositories(repositoryNames=[held])["repositories"]
        assert found["imageTagMutability"] == "IMMUTABLE"
        assert found["imageScanningConfiguration"] == {"scanOnPush": True}
        assert formation.outputs(name)["Uri"] == found["repositoryUri"]
        assert json.loads(ecr.get_lifecycle_policy(repositoryName=held)["lifecyclePolicyText"]) == json.loads(
            lifecycle
        )


def test_a_type_that_only_moto_models_is_created_and_not_updated(formation: Formation) -> None:
    table = {
        "TableName": "emulator-table",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    template = resources(Table=("AWS::DynamoDB::Table", table))
    dynamodb = formation.emulator.client("dynamodb")
    with formation.deployed(template) as name:
        assert dynamodb.list_tables()["TableNames"] == ["emulator-table"]
        template["Resources"]["Table"]["Properties"]["DeletionProtectionEnabled"] = True
        assert formation.update(name, template) == "UPDATE_ROLLBACK_COMPLETE"
        assert "no in-place update of 'DeletionProtectionEnabled'" in formation.reasons(name)
    assert dynamodb.list_tables()["TableNames"] == []
